"""The generalised minimal residual method.

Arnoldi's orthonormal vectors v_1 .. v_k span b, A b, .. A^(k-1) b, and A V_k = V_(k+1) H
with H upper Hessenberg. The u = V_k w with the smallest |A u - b| has

    w = argmin | H w - |b| e_1 |,

which one plane rotation a step keeps triangular: the residual is known at each step
before u is.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from gan_gradflow.bridges.adjoint.base import AdjointSolver, norms
from gan_gradflow.bridges.adjoint.linear_systems import LinearSystem


class GMRESAdjoint(AdjointSolver):
    """Smallest residual in the Krylov space: any system that is not singular.

    One product a step; keeps `restart` + 1 vectors for each sample, and starts again from
    its best answer when they are used up. Never more than `dim` steps without a restart,
    few where the eigenvalues lie in a few clusters: choose it unless you know that dF/dy
    has a structure that another solver wants. Saad and Schultz, SIAM J. Sci. Stat.
    Comput. 7, 1986.

    Args:
        tolerance: the relative residual to reach; None chooses by dtype.
        max_steps: steps at most, over all restarts.
        on_failure: "raise" or "warn".
        restart: steps before a restart.

    Raises:
        ValueError: an argument is out of range.
    """

    advice = "raise max_steps or restart, or choose dense"

    def __init__(
        self, tolerance: float | None, max_steps: int, on_failure: str, restart: int
    ) -> None:
        super().__init__(tolerance, max_steps, on_failure)
        if restart < 1:
            raise ValueError(f"restart must be at least 1, got {restart}; try 30")
        self.restart = restart

    def improve(
        self,
        system: LinearSystem,
        residual: Float[Tensor, "batch dim"],
        bound: Float[Tensor, " batch"],
        max_steps: int,
    ) -> tuple[Float[Tensor, "batch dim"], int]:
        """One cycle of at most `restart` steps."""
        size = min(self.restart, max_steps, residual.shape[1])
        length = norms(residual)
        basis = [_scaled(residual, length)]
        rotation = torch.eye(size + 1, dtype=residual.dtype, device=residual.device)
        rotation = rotation.repeat(len(residual), 1, 1)
        columns = []
        for k in range(size):
            vector, column = _orthogonal(system.apply(basis[k]), torch.stack(basis))
            rotation, column = _rotate(rotation, column, k)
            columns.append(functional.pad(column, (0, size - k - 1)))
            estimate = length * rotation[:, k + 1, 0].abs()
            if not bool((estimate > bound).any()):
                break
            basis.append(vector * (estimate > bound).unsqueeze(1))
        steps = k + 1
        target = length.unsqueeze(1) * rotation[:, :steps, 0]
        triangle = torch.stack(columns, 2)[:, :steps]
        weights = _substitute(triangle, target)
        return _combination(weights, torch.stack(basis[:steps])), steps


def _scaled(vectors: Tensor, length: Tensor) -> Float[Tensor, "batch dim"]:
    """Unit vectors; the zero vector where the length is zero."""
    return vectors / length.where(length > 0, 1).unsqueeze(1)


def _combination(
    weights: Float[Tensor, "batch size"], basis: Float[Tensor, "size batch dim"]
) -> Float[Tensor, "batch dim"]:
    # A product and a sum: autocast and TF32 would lower the precision of a matmul.
    return (weights.T.unsqueeze(2) * basis).sum(0)


def _orthogonal(
    vector: Float[Tensor, "batch dim"], basis: Float[Tensor, "size batch dim"]
) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch more"]]:
    """The next unit vector of a basis, and the coefficients of `vector` in it."""
    before = norms(vector)
    total = torch.zeros((), dtype=vector.dtype, device=vector.device)
    for _ in range(2):  # twice is enough (Giraud et al., Numer. Math. 101, 2005)
        coefficients = (basis * vector).sum(2).T
        vector = vector - _combination(coefficients, basis)
        total = total + coefficients
    eps = torch.finfo(vector.dtype).eps
    length = norms(vector)
    length = length.where(length > 10 * eps * before, 0)  # the space is used up
    vector = vector.where(length.unsqueeze(1) > 0, 0)
    return _scaled(vector, length), torch.cat([total, length.unsqueeze(1)], 1)


def _rotate(
    rotation: Float[Tensor, "batch size size"], column: Tensor, k: int
) -> tuple[Float[Tensor, "batch size size"], Float[Tensor, "batch more"]]:
    """The rotation and one more, after which entry k + 1 of the column vanishes."""
    column = (rotation[:, : k + 2, : k + 2] * column.unsqueeze(1)).sum(2)
    a, b = column[:, k], column[:, k + 1]
    radius = torch.hypot(a, b)
    safe = radius.where(radius > 0, 1)
    cosine = (a / safe).where(radius > 0, 1).unsqueeze(1)
    sine = (b / safe).unsqueeze(1)
    upper, lower = rotation[:, k], rotation[:, k + 1]
    turned = [cosine * upper + sine * lower, cosine * lower - sine * upper]
    rotation = torch.cat(
        [rotation[:, :k], torch.stack(turned, 1), rotation[:, k + 2 :]], 1
    )
    return rotation, torch.cat([column[:, :k], radius.unsqueeze(1)], 1)


def _substitute(
    triangle: Float[Tensor, "batch size size"], target: Float[Tensor, "batch size"]
) -> Float[Tensor, "batch size"]:
    """Solve the triangular systems; columns of zeros (used-up directions) weigh nothing."""
    dead = triangle.diagonal(dim1=1, dim2=2) == 0
    triangle = triangle + torch.diag_embed(dead.to(triangle.dtype))
    target = target.where(~dead, 0).unsqueeze(2)
    return torch.linalg.solve_triangular(triangle, target, upper=True).squeeze(2)
