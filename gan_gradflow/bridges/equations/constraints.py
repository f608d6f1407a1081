"""Constraints h(y) = 0 onto which samples can be projected.

A constraint maps samples `[batch, *event]` to values `[batch, k]`. Those of this file are
scaled so that their gradient has about unit length, which keeps a projection's linear
system well conditioned in any dimension d:

    mass:      h(y) = sqrt(d) (mean(y) - m),                     grad h = 1 / sqrt(d)
    energy:    h(y) = sqrt(d) (mean(y^2) - e) / (2 sqrt(e)),     grad h = y / sqrt(d e)
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gan_gradflow.bridges.base import rows


class Constraint(nn.Module, ABC):
    """h(y) = 0 for each sample; fewer values than a sample has elements."""

    @abstractmethod
    def forward(
        self, samples: Float[Tensor, "batch *event"]
    ) -> Float[Tensor, "batch values"]:
        """h of each sample."""


class MassConservation(Constraint):
    """The mean over a sample's elements equals `mean`: brightness, mass, charge."""

    def __init__(self, mean: float) -> None:
        super().__init__()
        self.mean = mean

    def forward(
        self, samples: Float[Tensor, "batch *event"]
    ) -> Float[Tensor, "batch values"]:
        """sqrt(d) (mean - m)."""
        flat = rows(samples)
        return flat.shape[1] ** 0.5 * (flat.mean(1, keepdim=True) - self.mean)


class EnergyConservation(Constraint):
    """The mean square over a sample's elements equals `mean_square`.

    Raises:
        ValueError: `mean_square` is not positive.
    """

    def __init__(self, mean_square: float) -> None:
        super().__init__()
        if not mean_square > 0:
            raise ValueError(f"mean_square must be positive, got {mean_square}; try 1")
        self.mean_square = mean_square

    def forward(
        self, samples: Float[Tensor, "batch *event"]
    ) -> Float[Tensor, "batch values"]:
        """sqrt(d) (mean square - e) / (2 sqrt(e))."""
        flat = rows(samples)
        excess = flat.square().mean(1, keepdim=True) - self.mean_square
        return (flat.shape[1] / self.mean_square) ** 0.5 / 2 * excess


class JointConstraint(Constraint):
    """Several constraints at once; they must not contradict or imply each other.

    Raises:
        ValueError: there is no constraint.
    """

    def __init__(self, constraints: Sequence[nn.Module]) -> None:
        super().__init__()
        if not constraints:
            raise ValueError("constraints is empty; give at least one")
        self.constraints = nn.ModuleList(constraints)

    def forward(
        self, samples: Float[Tensor, "batch *event"]
    ) -> Float[Tensor, "batch values"]:
        """The values of all constraints."""
        return torch.cat([constraint(samples) for constraint in self.constraints], 1)
