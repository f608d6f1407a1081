"""Baselines: what is subtracted from a score before it weighs its draw.

The score function has mean zero, so a baseline that does not depend on a draw leaves the
expectation of  (f(x) - baseline) * d log p(x)  as it is and may lower its variance. It
may also raise it: no constant is best for every critic, the mean score neither.
Scores come in groups: the members of a group depend on each other (an antithetic pair),
the groups do not.

A baseline may learn from a call's scores once they have been used, in training mode; in
`eval()` it stays as it is. (Under `torch.func` nothing can learn: call `eval()` before.)
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution

from gan_gradflow.bridges.base import rows, wide
from gan_gradflow.bridges.distributions import parameters_of
from gan_gradflow.bridges.small_network import SmallNetwork
from gan_gradflow.processes import ALONE, Processes
from gan_gradflow.types import Emission


class Baseline(nn.Module, ABC):
    """A reference for every score that its own group has no part in.

    Attributes:
        reserved: leading groups that the baseline keeps for itself; they weigh nothing.
        least_groups: the fewest groups that leave something to weigh.
        weighs_by_length: it asks for the squared length of each draw's score function.
        processes: those that share the batch; what a baseline learns is the same on all.
    """

    processes: Processes = ALONE

    reserved = 0
    least_groups = 1
    weighs_by_length = False

    @abstractmethod
    def forward(
        self,
        scores: Float[Tensor, "groups members batch"],
        emission: Emission,
        lengths: Float[Tensor, "groups members batch"] | None,
    ) -> Float[Tensor, "#groups #members #batch"]:
        """What to subtract from each score.

        Args:
            scores: of the draws.
            emission: what was drawn from.
            lengths: |d log p(x)|^2 of each draw; None unless `weighs_by_length`.
        """

    def observe(
        self, scores: Float[Tensor, "groups members batch"], emission: Emission
    ) -> None:
        """Learn from scores that have been used, for later calls."""


class NoBaseline(Baseline):
    """Zero: right where the draws' symmetry cancels constants, as in antithetic pairs."""

    def forward(
        self,
        scores: Float[Tensor, "groups members batch"],
        emission: Emission,  # noqa: ARG002
        lengths: Float[Tensor, "groups members batch"] | None,  # noqa: ARG002
    ) -> Float[Tensor, "#groups #members #batch"]:
        """Zero for each score."""
        return scores.new_zeros(1, 1, 1)


class MeanBaseline(Baseline):
    """The mean score of groups set apart for it: the textbook's E f, estimated.

    The mean over all draws, a score's own among them, would shrink the pull by
    (K - 1) / K; set right for that it is leave-one-out, which makes more of the same
    queries. Choose this one to compare with published variances.

    Args:
        num_groups: groups of draws that serve the mean alone.

    Raises:
        ValueError: `num_groups` below 1.
    """

    def __init__(self, num_groups: int) -> None:
        super().__init__()
        if num_groups < 1:
            raise ValueError(
                f"num_groups must be at least 1, got {num_groups}; choose baseline: none "
                "for no mean"
            )
        self.reserved = num_groups
        self.least_groups = num_groups + 1

    def forward(
        self,
        scores: Float[Tensor, "groups members batch"],
        emission: Emission,  # noqa: ARG002
        lengths: Float[Tensor, "groups members batch"] | None,  # noqa: ARG002
    ) -> Float[Tensor, "#groups #members #batch"]:
        """The mean over the groups set apart."""
        return scores[: self.reserved].mean((0, 1), keepdim=True)


class LeaveOneOutBaseline(Baseline):
    """The mean score of all other groups: unbiased, no state, at least two groups.

    On a linear critic with Gaussian draws in R^d and K groups of one the relative
    variance is (d + 1) / K + d / (K (K - 1)). Kool et al., "Buy 4 REINFORCE samples, get
    a baseline for free!", 2019.
    """

    least_groups = 2

    def forward(
        self,
        scores: Float[Tensor, "groups members batch"],
        emission: Emission,  # noqa: ARG002
        lengths: Float[Tensor, "groups members batch"] | None,  # noqa: ARG002
    ) -> Float[Tensor, "#groups #members #batch"]:
        """The mean over the other groups."""
        groups, members, _ = scores.shape
        return _others(scores) / ((groups - 1) * members)


class OptimalBaseline(Baseline):
    """The constant of least variance, estimated by each draw from all other groups.

    With the squared length w of a draw's d log p, the variance of (f - b) d log p, summed
    over its elements, is least at b = E[w f] / E[w]. Group k subtracts

        b_k = sum_{j != k} w_j f_j / sum_{j != k} w_j,

    the ratio of means over the *other* groups. A group has no part in its own b_k, so the
    mean stays what it is, exactly and for any number of draws; with all groups in one
    ratio it would not. b_k is itself an estimate, which adds variance of O(1 / K).

    Choose it where the length of d log p varies from draw to draw: few dimensions, rare
    categories. In many dimensions all draws of a Gaussian are about as long, and it comes
    to leave-one-out. Members of a group count as if they were independent.
    Greensmith, Bartlett and Baxter, JMLR 5, 2004.
    """

    least_groups = 2
    weighs_by_length = True

    def forward(
        self,
        scores: Float[Tensor, "groups members batch"],
        emission: Emission,  # noqa: ARG002
        lengths: Float[Tensor, "groups members batch"] | None,
    ) -> Float[Tensor, "#groups #members #batch"]:
        """The mean over the other groups, weighed by length."""
        assert lengths is not None
        weights = lengths.to(scores)
        weighted = _others(weights * scores)
        # Where all others are certain outcomes (length 0) no constant is better than 0.
        total = _others(weights)
        return weighted / torch.where(total > 0, total, 1)


class MovingAverageBaseline(Baseline):
    """The running mean score of earlier calls: one number for all samples.

    Unbiased, for it never saw the draws that it is subtracted from, and it asks for no
    second draw. Choose it for single draws. Williams, Machine Learning 8, 1992.

    Args:
        decay: weight of the past in each update; the start is corrected for.

    Raises:
        ValueError: `decay` outside [0, 1).
    """

    total: Tensor
    weight: Tensor

    def __init__(self, decay: float) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}; try 0.9")
        self.decay = decay
        # A weighted sum of means, and of the weights: their ratio is the average.
        self.register_buffer("total", torch.zeros(()))
        self.register_buffer("weight", torch.zeros(()))

    def forward(
        self,
        scores: Float[Tensor, "groups members batch"],
        emission: Emission,  # noqa: ARG002
        lengths: Float[Tensor, "groups members batch"] | None,  # noqa: ARG002
    ) -> Float[Tensor, "#groups #members #batch"]:
        """The average so far; zero before the first call."""
        average = self.total / self.weight.clamp(min=1 - self.decay)
        return average.to(scores).view(1, 1, 1)

    def observe(
        self,
        scores: Float[Tensor, "groups members batch"],
        emission: Emission,  # noqa: ARG002
    ) -> None:
        """Take the mean score of a call into the average."""
        mean = self.processes.mean(scores.detach().mean().to(self.total))
        self.total.lerp_(mean, 1 - self.decay)
        self.weight.lerp_(torch.ones_like(self.weight), 1 - self.decay)


class LearnedBaseline(Baseline):
    """A small network's guess of the mean score from what was emitted, before any draw.

    Regressed on the scores of earlier calls; unbiased, for it sees the emission (of a
    distribution the parameters) and never a draw. Choose it for single draws when the
    loss varies from sample to sample. Mnih and Gregor, ICML 2014.

    Args:
        width: units of its hidden layer.
        learning_rate: of its own optimizer, Adam.
    """

    def __init__(self, width: int, learning_rate: float) -> None:
        super().__init__()
        self.network = SmallNetwork(width, learning_rate)

    def forward(
        self,
        scores: Float[Tensor, "groups members batch"],
        emission: Emission,
        lengths: Float[Tensor, "groups members batch"] | None,  # noqa: ARG002
    ) -> Float[Tensor, "#groups #members #batch"]:
        """The guess for each sample; zero before the first call."""
        guess = self.network(_features(emission), self.network.weights)
        return guess.to(scores).view(1, 1, -1)

    @torch.enable_grad()
    def observe(
        self, scores: Float[Tensor, "groups members batch"], emission: Emission
    ) -> None:
        """One step towards the mean score of each sample."""
        features = _features(emission)
        self.network.size_for(features.shape[-1], features)
        weights = self.network.weights.clone().requires_grad_()
        guess = self.network(features, weights)
        error = (guess - scores.detach().mean((0, 1)).to(guess)).square().mean()
        self.network.step(torch.autograd.grad(error, weights)[0])


def _others(
    numbers: Float[Tensor, "groups members batch"],
) -> Float[Tensor, "groups 1 batch"]:
    """The sum over all groups but each one's own."""
    own = numbers.sum(1, keepdim=True)
    none = torch.zeros_like(own[:1])
    # Not the total less its own, which rounding would make depend on a draw far larger.
    before = torch.cat([none, own[:-1]]).cumsum(0)
    after = torch.cat([own[1:], none]).flip(0).cumsum(0).flip(0)
    return before + after


def _features(emission: Emission) -> Float[Tensor, "batch features"]:
    if not isinstance(emission, Distribution):
        return wide(rows(emission.detach()))
    return torch.cat([wide(rows(p.detach())) for p in parameters_of(emission)], dim=1)
