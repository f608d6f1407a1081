"""Conjugate gradients: from u = 0, r = p = b, with a = <r, r> / <p, A p>,

    u <- u + a p,    r <- r - a A p,    p <- r + (<r, r> / <r, r> before) p.

Each u is the best of its Krylov space in the norm <e, A e> of the error: a norm only
where A is symmetric positive definite.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.bridges.adjoint.base import AdjointError, AdjointSolver, dot
from gan_gradflow.bridges.adjoint.linear_systems import LinearSystem


class ConjugateGradientAdjoint(AdjointSolver):
    """Conjugate gradients, for symmetric positive definite dF/dy and nothing else.

    One product a step, three vectors of memory, at most about sqrt(condition) * log(1 /
    tolerance) / 2 steps; choose it where F is the gradient of a convex function, as in
    Sinkhorn scaling. Two more products with fixed probes v, w test the symmetry,
    <v, A w> = <w, A v>, and each step the curvature <p, A p> > 0: on any other system the
    method returns wrong answers or none. Hestenes and Stiefel, J. Res. NBS 49, 1952.
    """

    advice = "raise max_steps, or choose gmres"

    def check(self, system: LinearSystem, rhs: Float[Tensor, "batch dim"]) -> None:
        """Refuse a system that is not symmetric."""
        own = torch.Generator(rhs.device).manual_seed(
            0
        )  # the global one stays as it is
        v, w = torch.randn(
            2, *rhs.shape, dtype=rhs.dtype, device=rhs.device, generator=own
        )
        one, other = v * system.apply(w), w * system.apply(v)
        size = one.abs().sum(1) + other.abs().sum(1)
        skew = (one.sum(1) - other.sum(1)).abs()
        eps = torch.finfo(rhs.dtype).eps
        if bool((skew > 1e3 * eps * size).any()):
            raise AdjointError(
                "ConjugateGradientAdjoint needs a symmetric dF/dy, and probes v, w have "
                f"|<v, A w> - <w, A v>| up to {float((skew / size).max()):.1e} of its "
                "terms; choose gmres"
            )

    def improve(
        self,
        system: LinearSystem,
        residual: Float[Tensor, "batch dim"],
        bound: Float[Tensor, " batch"],
        max_steps: int,
    ) -> tuple[Float[Tensor, "batch dim"], int]:
        """Conjugate gradients from zero."""
        solution = torch.zeros_like(residual)
        direction, square = residual, dot(residual, residual)
        for steps in range(1, max_steps + 1):  # noqa: B007
            active = square.sqrt() > bound
            product = system.apply(direction)
            curvature = dot(direction, product)
            self._refuse_negative(curvature, active)
            rate = (square / curvature).where(active, 0).unsqueeze(1)
            solution = solution + rate * direction
            residual = residual - rate * product
            last, square = square, dot(residual, residual)
            if not bool((square.sqrt() > bound).any()):
                break
            keep = (square / last).where(active, 0).unsqueeze(1)
            direction = residual + keep * direction
        return solution, steps

    @staticmethod
    def _refuse_negative(curvature: Tensor, active: Tensor) -> None:
        if bool((active & ~(curvature > 0)).any()):
            raise AdjointError(
                "ConjugateGradientAdjoint needs a positive definite dF/dy, and a step has "
                f"curvature <p, A p> = {float(curvature[active].min()):.1e}; choose "
                "gmres, or change the sign of F if it is negative definite"
            )
