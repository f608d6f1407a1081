"""Baselines: what is subtracted from a score before it weighs its draw.

The score function has mean zero, so a baseline that does not depend on a draw leaves the
expectation of  (f(x) - baseline) * d log p(x)  as it is and may lower its variance.
Scores come in groups: the members of a group depend on each other (an antithetic pair),
the groups do not.
"""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn


class Baseline(nn.Module, ABC):
    """A reference for every score that its own group has no part in."""

    least_groups = 1

    @abstractmethod
    def forward(
        self, scores: Float[Tensor, "groups members batch"]
    ) -> Float[Tensor, "#groups #members #batch"]:
        """What to subtract from each score."""


class NoBaseline(Baseline):
    """Zero: right where the draws' symmetry cancels constants, as in antithetic pairs."""

    def forward(
        self, scores: Float[Tensor, "groups members batch"]
    ) -> Float[Tensor, "#groups #members #batch"]:
        """Zero for each score."""
        return scores.new_zeros(1, 1, 1)


class LeaveOneOutBaseline(Baseline):
    """The mean score of all other groups: unbiased, no state, at least two groups.

    On a linear critic with Gaussian draws in R^d and K groups of one the relative
    variance is (d + 1) / K + d / (K (K - 1)). Kool et al., "Buy 4 REINFORCE samples, get
    a baseline for free!", 2019.
    """

    least_groups = 2

    def forward(
        self, scores: Float[Tensor, "groups members batch"]
    ) -> Float[Tensor, "#groups #members #batch"]:
        """The mean over the other groups."""
        groups, members, _ = scores.shape
        total = scores.sum((0, 1), keepdim=True)
        own = scores.sum(1, keepdim=True)
        return (total - own) / ((groups - 1) * members)
