"""The Neumann series  u = sum_k (I - A)^k b,  as the fixed point of u <- b + (I - A) u.

With the residual r = b - A u a step is  u <- u + r.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.bridges.adjoint.base import AdjointError, AdjointSolver, norms
from gan_gradflow.bridges.adjoint.linear_systems import LinearSystem


class NeumannAdjoint(AdjointSolver):
    """Fixed-point iteration, for contractions.

    One product a step, two vectors of memory; the error falls by the spectral radius of
    I - A at each step, which must be below 1. Choose it for equations y = g(y, x) written
    as F = y - g(y, x) with a contraction g, where it is also cut short most safely: k
    steps are the gradient through the last k iterations of g. Christianson, Optimization
    Methods and Software 3, 1994.
    """

    advice = (
        "raise max_steps, or choose gmres if the spectral radius of I - dF/dy is near 1"
    )

    def improve(
        self,
        system: LinearSystem,
        residual: Float[Tensor, "batch dim"],
        bound: Float[Tensor, " batch"],
        max_steps: int,
    ) -> tuple[Float[Tensor, "batch dim"], int]:
        """Add the residual until it is small."""
        solution, left, start = torch.zeros_like(residual), residual, norms(residual)
        for step in range(1, max_steps + 1):
            active = norms(left) > bound
            solution = solution + left * active.unsqueeze(1)
            left = (residual - system.apply(solution)).where(active.unsqueeze(1), left)
            growth = (norms(left) / start)[active]
            self._refuse_divergence(growth, step, last=step == max_steps)
            if not bool((norms(left) > bound).any()):
                break
        return solution, step

    @staticmethod
    def _refuse_divergence(growth: Tensor, step: int, last: bool) -> None:
        # A residual may grow at first and fall later; it does not do so thousandfold.
        if not bool((growth < (1 if last else 1e3)).all()):
            raise AdjointError(
                f"NeumannAdjoint diverges: after {step} steps the residual is "
                f"{float(growth.max()):.1e} times what it was, so the spectral radius of "
                "I - dF/dy is not below 1; choose gmres, or write F as y - g(y, x) with "
                "a contraction g"
            )
