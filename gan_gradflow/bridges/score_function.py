"""The score function: the gradient of an expectation from scores of draws alone.

For draws x_1 .. x_K from an emission's distribution p_theta, scores f(x_k) and baselines
b_k that do not depend on x_k,

    pull = 1 / K * sum_k (f(x_k) - b_k) * d log p_theta(x_k) / d theta

is an unbiased estimate of  d/d theta E f(x).  A tensor emission m is first given a
Gaussian of width sigma: x_k = m + sigma e_k, and the pull is
1 / (sigma K) sum_k (f(x_k) - b_k) e_k, unbiased for the gradient of the smoothed loss
E f(m + sigma e) = f(m) + O(sigma^2). The value is the mean score of the draws.

Antithetic draws come in pairs mirrored at the mean; constants then cancel within a pair.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.distributions import (
    Cauchy,
    Distribution,
    Independent,
    Laplace,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    StudentT,
)

from gan_gradflow.bridges.base import GradientBridge, Traits, combine, inner, wide
from gan_gradflow.bridges.baselines import Baseline
from gan_gradflow.bridges.directions import directions_per_block
from gan_gradflow.critic import Critic
from gan_gradflow.types import Access, Emission

_SYMMETRIC = (
    Cauchy,
    Laplace,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    StudentT,
)


class ScoreFunctionBridge(GradientBridge):
    """Needs nothing but scores; the only bridge for discrete or stochastic generators.

    Costs K queries per sample. Its variance falls as 1 / K and grows with the dimension
    of what is emitted; unlike a finite difference it asks nothing of the critic's
    smoothness. Williams, Machine Learning 8, 1992; Mohamed et al., JMLR 21, 2020.

    Args:
        num_draws: K; even with antithetic draws.
        sigma: width of the Gaussian given to a tensor emission, in its units.
        antithetic: draw mirrored pairs; needs a distribution symmetric about a point.
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
        crosses="draws from the emission's distribution",
        returns="scores",
        per_sample=True,
    )

    def __init__(
        self, num_draws: int, sigma: float, antithetic: bool, baseline: Baseline
    ) -> None:
        super().__init__()
        if num_draws < 1:
            raise ValueError(f"num_draws must be at least 1, got {num_draws}; try 8")
        if antithetic and num_draws % 2:
            raise ValueError(
                f"num_draws must be even for antithetic pairs, got {num_draws}; add one "
                "or set antithetic to false"
            )
        if not sigma > 0:
            raise ValueError(f"sigma must be positive, got {sigma}; try 0.1 for images")
        members = 2 if antithetic else 1
        if num_draws // members < baseline.least_groups:
            raise ValueError(
                f"num_draws is {num_draws}, and {type(baseline).__name__} needs at least "
                f"{baseline.least_groups * members}; draw more, or choose another baseline"
            )
        self.num_draws = num_draws
        self.sigma = sigma
        self.antithetic = antithetic
        self.baseline = baseline

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

    def _from_distribution(
        self, critic: Critic, emission: Distribution
    ) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            draws = self._draws(emission)
        scores = wide(critic(draws, num_query_dims=2))
        weights = (scores - self.baseline(scores)) / self.num_draws
        proxy = (weights * emission.log_prob(draws)).sum((0, 1))
        return scores.mean((0, 1)), proxy

    def _draws(self, emission: Distribution) -> Shaped[Tensor, "groups members ..."]:
        if not self.antithetic:
            return emission.sample((self.num_draws, 1))
        draws = emission.sample((self.num_draws // 2, 1))
        return torch.cat([draws, 2 * _centre(emission) - draws], dim=1)

    def _smoothed(self, critic: Critic, mean: Tensor) -> tuple[Tensor, Tensor]:
        # The baseline wants every score before the first weight is known, so the noise
        # is drawn twice from the same seeds rather than kept.
        seeds = self._seeds(mean)
        scores = torch.cat(
            [wide(critic(mean + self.sigma * e, 2)) for e in self._noise(mean, seeds)]
        )
        weights = (scores - self.baseline(scores)) / (self.sigma * self.num_draws)
        pull = torch.zeros((), device=mean.device)
        start = 0
        for noise in self._noise(mean, seeds):
            stop = start + len(noise)
            pull = pull + combine(
                weights[start:stop].flatten(0, 1), noise.flatten(0, 1)
            )
            start = stop
        return scores.mean((0, 1)), pull

    def _seeds(self, mean: Tensor) -> list[tuple[int, int]]:
        groups = self.num_draws // (2 if self.antithetic else 1)
        size = directions_per_block(mean)
        counts = [min(size, groups - start) for start in range(0, groups, size)]
        seeds = torch.randint(2**62, (len(counts),)).tolist()
        return list(zip(counts, seeds, strict=True))

    def _noise(
        self, mean: Tensor, seeds: list[tuple[int, int]]
    ) -> Iterator[Float[Tensor, "groups members batch *event"]]:
        for count, seed in seeds:
            noise = torch.randn(
                count,
                1,
                *mean.shape,
                dtype=mean.dtype,
                device=mean.device,
                generator=torch.Generator(mean.device).manual_seed(seed),
            )
            yield torch.cat([noise, -noise], dim=1) if self.antithetic else noise


def _centre(distribution: Distribution) -> Tensor:
    base = distribution
    while isinstance(base, Independent):
        base = base.base_dist
    if not isinstance(base, _SYMMETRIC):
        raise ValueError(
            f"antithetic draws need a distribution symmetric about a point, and "
            f"{type(base).__name__} is not known to be; set antithetic to false"
        )
    return base.loc
