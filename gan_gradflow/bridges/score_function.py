"""The score function: the gradient of an expectation from scores of draws alone.

For draws x_1 .. x_K from an emission's distribution p_theta, scores f(x_k) and baselines
b_k that do not depend on x_k,

    pull = 1 / K * sum_k (f(x_k) - b_k) * d log p_theta(x_k) / d theta

is an unbiased estimate of  d/d theta E f(x).  A tensor emission m is first given a
Gaussian of width sigma: x_k = m + sigma e_k, and the pull is
1 / (sigma K) sum_k (f(x_k) - b_k) e_k, unbiased for the gradient of the smoothed loss
E f(m + sigma e) = f(m) + O(sigma^2). The value is the mean score of the draws.

How the draws depend on each other, and what b_k is, are objects of their own: draws and
baselines.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from gan_gradflow.bridges.base import (
    GradientBridge,
    Traits,
    add_weighted,
    inner,
    rows,
    wide,
)
from gan_gradflow.bridges.baselines import Baseline, LeaveOneOutBaseline
from gan_gradflow.bridges.directions import directions_per_block
from gan_gradflow.bridges.distributions import base_of, parameters_of
from gan_gradflow.bridges.draws import AntitheticDraws, Draws, IndependentDraws
from gan_gradflow.critic import Critic
from gan_gradflow.types import Access, Emission

_SEED_ELEMENTS = 2**20


class ScoreFunctionBridge(GradientBridge):
    """Needs nothing but scores; the only bridge for discrete or stochastic generators.

    Costs K queries per sample. Its variance falls as 1 / K and grows with the dimension
    of what is emitted; unlike a finite difference it asks nothing of the critic's
    smoothness. Williams, Machine Learning 8, 1992; Mohamed et al., JMLR 21, 2020.

    Args:
        num_draws: K; even with antithetic draws.
        sigma: width of the Gaussian given to a tensor emission, in its units.
        draws: how the draws of a sample depend on each other.
        baseline: what is subtracted from the scores.

    Raises:
        ValueError: a number is out of range, or too few draws for the baseline.
    """

    traits = Traits(
        choose_when="only scores come back, and the critic is rough or the emission "
        "discrete or random",
        access=Access.SCORES,
        deterministic=False,
        unbiased_for="the expected loss of the draws; for a tensor, the loss smoothed "
        "by sigma",
        queries="K",
        crosses="draws from the emission's distribution; of a tensor also itself",
        returns="scores",
        per_sample=True,
    )

    def __init__(
        self, num_draws: int, sigma: float, draws: Draws, baseline: Baseline
    ) -> None:
        super().__init__()
        if not sigma > 0:
            raise ValueError(f"sigma must be positive, got {sigma}; try 0.1 for images")
        self.sigma = sigma
        self.draws = draws
        self.baseline = baseline
        self.take(num_draws)

    def estimate(
        self, critic: Critic, emission: Emission
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """The mean score of the draws, and the log-probabilities that they weigh."""
        if isinstance(emission, Distribution):
            return self._from_distribution(critic, emission)
        losses, pull = self._smoothed(critic, emission.detach())
        return losses, inner(pull, emission)

    def queries_per_sample(self, dim: int) -> int:  # noqa: ARG002
        """`num_draws`, whatever the dimension."""
        return self.num_draws

    def take(self, num_draws: int) -> None:
        """Take so many draws.

        Raises:
            ValueError: too few for the baseline, or not a number of whole groups.
        """
        if num_draws < 1:
            raise ValueError(f"num_draws must be at least 1, got {num_draws}; try 8")
        members = self.draws.members(num_draws)
        if num_draws // members < self.baseline.least_groups:
            least = self.baseline.least_groups * members
            raise ValueError(
                f"num_draws is {num_draws}, and {type(self.baseline).__name__} needs at "
                f"least {least}; draw more, or choose another baseline"
            )
        self.num_draws = num_draws

    def relative_variance(self, dim: int) -> float | None:
        """Known for mirrored pairs, in which baselines cancel, and for leave-one-out."""
        count = self.num_draws
        if isinstance(self.draws, AntitheticDraws) and not self.baseline.reserved:
            return 2 * (dim + 1) / count
        independent = type(self.draws) is IndependentDraws
        if independent and isinstance(self.baseline, LeaveOneOutBaseline):
            return (dim + 1) / count + dim / (count * (count - 1))
        return None

    def _from_distribution(
        self, critic: Critic, emission: Distribution
    ) -> tuple[Tensor, Tensor]:
        require_log_prob(emission)
        with torch.no_grad():
            draws = self.processes.drawn(
                emission, lambda whole: self.draws.sample(self._shape, whole), 2
            )
        scores = wide(critic(draws, num_query_dims=2))
        log_prob = emission.log_prob(draws)
        weighs = self.baseline.weighs_by_length
        lengths = _lengths(log_prob, parameters_of(emission)) if weighs else None
        weights = self._weights(scores, emission, lengths)
        proxy = (weights * log_prob).sum((0, 1))
        return scores.mean((0, 1)), proxy

    def _smoothed(self, critic: Critic, mean: Tensor) -> tuple[Tensor, Tensor]:
        # The baseline wants every score before the first weight is known: noise from one
        # seed is kept until then, from several it is drawn again.
        seeds = self._seeds(mean)
        kept = list(self._noise(mean, seeds)) if len(seeds) == 1 else None
        # Grown in one piece: what is left behind between blocks breaks up the memory.
        scores = lengths = mean.new_empty(0, self._shape[1], len(mean))
        for noise in kept or self._noise(mean, seeds):
            u, v = self.draws.pair(noise, mean)
            asked = wide(critic((self.sigma * u).add_(mean), num_query_dims=2))
            scores = torch.cat([scores, asked])
            if self.baseline.weighs_by_length:
                flat = wide(v.reshape(*v.shape[:3], -1))
                lengths = torch.cat([lengths, flat.square().sum(-1)])
        known = lengths if self.baseline.weighs_by_length else None
        weights = self._weights(scores, mean, known) / self.sigma
        pull, start = torch.zeros_like(wide(rows(mean))), 0
        for noise in kept or self._noise(mean, seeds):
            stop = start + len(noise)
            _, v = self.draws.pair(noise, mean)
            block = weights[start:stop].flatten(0, 1)
            add_weighted(pull, block, v.flatten(0, 1))
            start = stop
        return scores.mean((0, 1)), pull

    def _weights(
        self,
        scores: Float[Tensor, "groups members batch"],
        emission: Emission,
        lengths: Float[Tensor, "groups members batch"] | None,
    ) -> Float[Tensor, "groups members batch"]:
        weights = scores - self.baseline(scores, emission, lengths)
        if self.training:
            self.baseline.observe(scores, emission)
        spared = self.baseline.reserved
        if spared:
            weights = torch.cat([torch.zeros_like(weights[:spared]), weights[spared:]])
        return weights / (weights[spared:, :, 0].numel())

    @property
    def _shape(self) -> tuple[int, int]:
        members = self.draws.members(self.num_draws)
        return self.num_draws // members, members

    def _seeds(self, mean: Tensor) -> list[tuple[int, int]]:
        """Numbers of groups, each with the seed that their noise is drawn from."""
        groups, members = self._shape
        each = members * self.processes.whole(mean).numel()
        size = max(1, _SEED_ELEMENTS // each)
        counts = [min(size, groups - start) for start in range(0, groups, size)]
        seeds = torch.randint(2**62, (len(counts),)).tolist()
        return list(zip(counts, seeds, strict=True))

    def _noise(
        self, mean: Tensor, seeds: list[tuple[int, int]]
    ) -> Iterator[Float[Tensor, "groups members batch *event"]]:
        members = self._shape[1]
        whole = self.processes.whole(mean)
        size = max(1, directions_per_block(whole) // members)
        for count, seed in seeds:
            each = count if self.draws.drawn_as_one else size
            generator = torch.Generator(mean.device).manual_seed(seed)
            for start in range(0, count, each):
                shape = min(each, count - start), members
                noise = self.draws.noise(shape, whole, generator)
                yield self.processes.own(noise, dim=2)


def _lengths(
    log_prob: Float[Tensor, "groups members batch"], parameters: list[Tensor]
) -> Float[Tensor, "groups members batch"]:
    """|d log p|^2 of each draw, over the parameters that carry a graph."""
    followed = [tensor for tensor in parameters if tensor.requires_grad]
    lengths = torch.zeros_like(log_prob)
    if not log_prob.requires_grad:
        return lengths
    for group, row in enumerate(log_prob):
        for member, one in enumerate(row):
            slopes = torch.autograd.grad(
                one.sum(), followed, retain_graph=True, materialize_grads=True
            )
            squares = [rows(wide(slope)).square().sum(1) for slope in slopes]
            lengths[group, member] = torch.stack(squares).sum(0)
    return lengths


def require_log_prob(distribution: Distribution) -> None:
    """Raise a ValueError if a distribution cannot say how likely its draws were."""
    base = base_of(distribution)
    if type(base).log_prob is Distribution.log_prob:
        raise ValueError(
            f"{type(base).__name__} has no log_prob, and the score function is its "
            "gradient; emit a distribution of torch.distributions, or give yours one"
        )
