"""No equation:  F(y, x) = y - x."""

from jaxtyping import Float
from torch import Tensor

from gan_gradflow.bridges.equations.base import Equation


class IdentityEquation(Equation):
    """y = x, so that the pull is the critic's own gradient: the reference for others."""

    def residual(
        self, y: Float[Tensor, "batch *event"], x: Float[Tensor, "batch *event"]
    ) -> Float[Tensor, "batch *event"]:
        """y - x."""
        return y - x

    def solve(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch *event"]:
        """x."""
        return x
