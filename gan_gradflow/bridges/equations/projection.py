"""Projection onto a constraint set, by its conditions of optimality.

The point of {y : h(y) = 0} that is nearest to x has multipliers l with

    y - x + J_h(y)^T l = 0,    h(y) = 0,

d + k equations for the d + k unknowns (y, l). For an affine h the solution map is the
projection of the gradient onto the constraint's tangent space; otherwise the multipliers
bend it.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.bridges.base import rows
from gan_gradflow.bridges.equations.base import Equation
from gan_gradflow.bridges.equations.newton import newton


class ProjectionEquation(Equation):
    """Every sample keeps a conservation law to rounding error.

    Solved by Newton's method from y = x, which finds the nearest point if the set is
    convex, and a stationary one close by if not. The system is symmetric and indefinite:
    GMRES takes 3 steps for one affine constraint, whatever the dimension; conjugate
    gradients refuse. The critic sees y and not l.

    Args:
        constraint: h, from samples `[batch, *event]` to `[batch, k]` with k at most the
            number of a sample's elements; a `Constraint` or any callable.
        max_steps: Newton steps at most.

    Raises:
        ValueError: `max_steps` is below 1.
    """

    def __init__(self, constraint: Callable[[Tensor], Tensor], max_steps: int) -> None:
        super().__init__()
        if max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, got {max_steps}; try 20")
        self.constraint = constraint
        self.max_steps = max_steps

    def residual(
        self, y: Float[Tensor, "batch unknown"], x: Float[Tensor, "batch *event"]
    ) -> Float[Tensor, "batch unknown"]:
        """The conditions of optimality, for y and multipliers side by side."""
        point, multipliers = self.samples(y, x), y[:, x[0].numel() :]
        values, pull_back = torch.func.vjp(self.constraint, point)[:2]
        (normal,) = pull_back(multipliers)
        return torch.cat([rows(point - x + normal), values], 1)

    def solve(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch unknown"]:
        """Newton's method from the sample itself and no multiplier."""
        values = self._values(x)
        start = torch.cat([rows(x), torch.zeros_like(values)], 1)
        return newton(
            lambda y: self.residual(y, x), start, self.max_steps, symmetric=True
        )

    def samples(
        self, y: Float[Tensor, "batch unknown"], x: Float[Tensor, "batch *event"]
    ) -> Float[Tensor, "batch *event"]:
        """The projected samples, without their multipliers."""
        return y[:, : x[0].numel()].reshape(x.shape)

    def _values(self, x: Tensor) -> Tensor:
        values = self.constraint(x)
        if values.ndim != 2 or len(values) != len(x):
            raise ValueError(
                f"the constraint maps samples {list(x.shape)} to {list(values.shape)}; it "
                f"must return [{len(x)}, k], k values for each sample"
            )
        return values
