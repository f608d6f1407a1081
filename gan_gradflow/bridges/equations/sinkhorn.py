"""Sinkhorn scaling: a matrix with given sums of rows and columns.

For a log-kernel x [n, m] (minus the cost over the regularisation) there are potentials f
and g, unique up to (f + c, g - c), with which

    P = exp(f_i + x_ij + g_j)    has    sum_j P_ij = 1,    sum_i P_ij = n / m.

g_m = 0 fixes c, and the sum of the last column then follows from the others: n + m - 1
equations for as many potentials, whose Jacobian is symmetric positive definite. The
samples P depend on x by themselves as well as through f and g.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from gan_gradflow.bridges.equations.base import Equation, SolutionError, precision


class SinkhornEquation(Equation):
    """Soft permutations, soft assignments, transport plans: doubly scaled matrices.

    Solved by alternating scaling of rows and columns, in logarithms. Conjugate gradients
    are the adjoint solver to take. Sinkhorn and Knopp, Pacific J. Math. 21, 1967; Cuturi,
    NeurIPS 2013; for the implicit gradient Eisenberger et al., CVPR 2022.

    Args:
        max_steps: scalings at most; more for log-kernels of a wide range.

    Raises:
        ValueError: `max_steps` is below 1.
    """

    def __init__(self, max_steps: int) -> None:
        super().__init__()
        if max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, got {max_steps}; try 1000")
        self.max_steps = max_steps

    def residual(
        self, y: Float[Tensor, "batch *unknown"], x: Float[Tensor, "batch *event"]
    ) -> Float[Tensor, "batch *unknown"]:
        """What the sums of rows, and of columns but the last, have too much."""
        plan = self.samples(y, x)
        num_rows, num_columns = x.shape[-2:]
        columns = plan.sum(-2)[..., :-1] - num_rows / num_columns
        return torch.cat([plan.sum(-1) - 1, columns], -1)

    def solve(
        self, x: Float[Tensor, "batch *event"]
    ) -> Float[Tensor, "batch *unknown"]:
        """Scale rows and columns in turn until both have their sums.

        Raises:
            SolutionError: they do not after `max_steps` scalings.
            ValueError: a sample is not a matrix.
        """
        if x.ndim < 3:
            raise ValueError(
                f"SinkhornEquation scales matrices, and got samples {list(x.shape)}; emit "
                "[batch, *, rows, columns]"
            )
        num_rows, num_columns = x.shape[-2:]
        share = math.log(num_rows / num_columns)
        g = torch.zeros_like(x[..., 0, :])
        for _ in range(self.max_steps):
            f = -torch.logsumexp(x + g.unsqueeze(-2), -1)
            columns = torch.logsumexp(x + f.unsqueeze(-1), -2)
            if bool(((columns + g - share).abs() <= precision(x.dtype)).all()):
                return torch.cat([f + g[..., -1:], (g - g[..., -1:])[..., :-1]], -1)
            g = share - columns
        raise SolutionError(
            f"Sinkhorn scaling has not converged after {self.max_steps} scalings; raise "
            "max_steps, or emit log-kernels of a smaller range"
        )

    def samples(
        self, y: Float[Tensor, "batch *unknown"], x: Float[Tensor, "batch *event"]
    ) -> Float[Tensor, "batch *event"]:
        """The scaled matrices P."""
        f, g = y[..., : x.shape[-2]], functional.pad(y[..., x.shape[-2] :], (0, 1))
        return torch.exp(x + f.unsqueeze(-1) + g.unsqueeze(-2))
