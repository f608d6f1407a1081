"""An equilibrium layer:  F(y, x) = y - tanh(W y + x).

With |W| < 1 in the spectral norm the right side is a contraction, so that y exists, is
unique, and simple iteration finds it. The norm is bounded by the Schatten norm

    |W| <= (tr (W W^T)^4)^(1/8) <= dim^(1/8) |W|,

which, unlike a power iteration's estimate, is a bound, has no state, and costs two
products of matrices.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gan_gradflow.bridges.base import rows
from gan_gradflow.bridges.equations.base import Equation, SolutionError, precision


class EquilibriumEquation(Equation):
    """An infinitely deep layer that keeps one activation in memory.

    Takes about log(precision) / log(radius) iterations. `NeumannAdjoint` converges as
    fast; GMRES takes fewer steps as the radius nears 1. The weight learns with whoever
    optimises this module's parameters. Bai, Kolter and Koltun, NeurIPS 2019.

    Args:
        dim: elements of a sample.
        radius: the bound on the spectral norm of W, below 1.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, dim: int, radius: float) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"dim must be at least 1, got {dim}: a sample's elements")
        if not 0 < radius < 1:
            raise ValueError(
                f"radius must lie between 0 and 1, got {radius}; try 0.9: the layer has "
                "a unique equilibrium only below 1"
            )
        self.radius = radius
        self.raw_weight = nn.Parameter(torch.randn(dim, dim) / dim**0.5)

    @property
    def weight(self) -> Float[Tensor, "dim dim"]:
        """W: the parameter, scaled down where its norm exceeds the radius."""
        square = self.raw_weight @ self.raw_weight.T
        norm = torch.linalg.matrix_norm(square @ square).sqrt().sqrt()
        return self.raw_weight * (self.radius / norm.clamp(min=self.radius))

    def residual(
        self, y: Float[Tensor, "batch *event"], x: Float[Tensor, "batch *event"]
    ) -> Float[Tensor, "batch *event"]:
        """y - tanh(W y + x)."""
        return y - self._layer(y, x, self.weight)

    def solve(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch *event"]:
        """Iterate the layer from zero; as many steps as its contraction needs."""
        weight, y = self.weight, torch.zeros_like(x)
        target = precision(x.dtype)
        # From |y - y*| <= sqrt(dim), each step shortens the error by the radius.
        start = rows(x).shape[1] ** 0.5
        num_steps = math.ceil(math.log(target / start) / math.log(self.radius)) + 2
        for _ in range(num_steps):
            last, y = y, self._layer(y, x, weight)
            if bool(((y - last).abs() <= target).all()):
                return y
        raise SolutionError(
            f"the equilibrium layer has not settled after {num_steps} iterations: an "
            "input is not finite"
        )

    @staticmethod
    def _layer(y: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        return torch.tanh((rows(y) @ weight.T).reshape(x.shape) + x)
