"""An equation from two callables: F(y, x), and a solver x -> y."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.bridges.equations.base import Equation


class GivenEquation(Equation):
    """Your own F, in torch; your own solver, in whatever you like.

    Args:
        residual: F(y, x) for y `[batch, *unknown]` and x `[batch, *event]`, with as many
            elements as y has, by differentiable operations of torch.
        solver: a solution y for x `[batch, *event]`: a tensor or a NumPy array. It runs
            without a graph, on a detached tensor.
    """

    def __init__(
        self,
        residual: Callable[[Tensor, Tensor], Tensor],
        solver: Callable[[Tensor], Tensor | np.ndarray],
    ) -> None:
        super().__init__()
        self.function = residual
        self.solver = solver

    def residual(
        self, y: Float[Tensor, "batch *unknown"], x: Float[Tensor, "batch *event"]
    ) -> Tensor:
        """What the residual function returns; the bridge checks its shape."""
        return self.function(y, x)

    def solve(self, x: Float[Tensor, "batch *event"]) -> Tensor | np.ndarray:
        """What the solver returns; the bridge checks its shape."""
        return self.solver(x)
