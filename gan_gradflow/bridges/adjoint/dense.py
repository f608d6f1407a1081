"""The adjoint system by decomposition.

A = (dF/dy)^T is formed from one product for each column and factored as P L U; then
u = U^-1 L^-1 P^T b, refined by  u <- u + U^-1 L^-1 P^T (b - A u).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.bridges.adjoint.base import AdjointError, AdjointSolver, norms
from gan_gradflow.bridges.adjoint.linear_systems import LinearSystem


class DenseAdjoint(AdjointSolver):
    """LU decomposition of the Jacobian itself: any system that is not singular.

    Costs one product for each of the `dim` columns and dim^2 numbers for each sample;
    choose it for a few hundred unknowns at most, or to check another solver. A step is
    one substitution; the second and later ones refine the first.
    """

    advice = "the system is too ill-conditioned for this precision; use float64"

    def improve(
        self,
        system: LinearSystem,
        residual: Float[Tensor, "batch dim"],
        bound: Float[Tensor, " batch"],
        max_steps: int,
    ) -> tuple[Float[Tensor, "batch dim"], int]:
        """Decompose once, then substitute and refine."""
        factors, pivots, _ = torch.linalg.lu_factor_ex(system.dense(residual))
        self._refuse_singular(factors)
        solution = torch.zeros_like(residual)
        left = residual
        for steps in range(1, max_steps + 1):  # noqa: B007
            more = torch.linalg.lu_solve(factors, pivots, left.unsqueeze(2)).squeeze(2)
            solution = solution + more
            left = residual - system.apply(solution)
            if not bool((norms(left) > bound).any()):
                break
        return solution, steps

    @staticmethod
    def _refuse_singular(factors: Float[Tensor, "batch dim dim"]) -> None:
        diagonal = factors.diagonal(dim1=1, dim2=2).abs()
        eps = torch.finfo(factors.dtype).eps
        singular = ~(diagonal.amin(1) > eps * diagonal.amax(1))
        if bool(singular.any()):
            raise AdjointError(
                f"dF/dy is singular, or not finite, at {int(singular.sum())} of "
                f"{len(factors)} solutions (the first is that of sample "
                f"{int(singular.nonzero()[0])}): y is not a function of x there; add the "
                "equations that make it unique, or move away from the fold"
            )
