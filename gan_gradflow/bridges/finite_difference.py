"""Differences of scores along directions, drawn anew for each sample.

For a critic f, an emission x in R^d, directions u_1 .. u_K with
E[weight sum_k u_k u_k^T] = I (see `directions.py`) and step h,

    central:  pull = weight * sum_k [f(x + h u_k) - f(x - h u_k)] / (2 h) * u_k
    forward:  pull = weight * sum_k [f(x + h u_k) - f(x)] / h * u_k

where a family may answer along directions other than those it asked along. Along random
symmetric directions both have the same expectation, with bias O(h^2); along the
coordinate axes the forward difference has bias O(h). On a quadratic f the central
difference is unbiased for every h. The value is f(x) where x itself is asked (forward),
and the mean of the scores around x otherwise: E f(x + h u) = f(x) + O(h^2).

Central differences along random signs are simultaneous perturbation (SPSA). A step that
follows the critic is in `adaptive_difference.py`.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.bridges.base import (
    GradientBridge,
    Traits,
    add_weighted,
    inner,
    rows,
    wide,
)
from gan_gradflow.bridges.directions import Directions
from gan_gradflow.critic import Critic
from gan_gradflow.types import Access, Emission

# Rounding error eps / h against truncation h (forward) or h^2 (central), on a critic
# whose scores and curvature are of order one: `benchmarks/steps.py` measures them. For
# float32 longer than the best, as many GPUs multiply it with the mantissa of float16.
_DEFAULT_STEPS = {  # dtype: (forward, central)
    torch.bfloat16: (1e-1, 2e-1),
    torch.float16: (5e-2, 1e-1),
    torch.float32: (5e-3, 2e-2),
    torch.float64: (5e-8, 1e-5),
}

# Directions to ask along, directions to answer along, and the scores of x + j h u by j.
Answers = tuple[
    Float[Tensor, "directions batch *event"],
    Float[Tensor, "directions batch *event"],
    dict[int, Float[Tensor, "directions batch"]],
]


class FiniteDifferenceBridge(GradientBridge):
    """Needs nothing but scores, and only a critic that is smooth on the scale of `step`.

    Costs 2 K queries per sample (central) or K + 1 (forward). The relative variance of
    the pull on a sample is about d / K, yet the generator's parameter gradient averages
    it over the batch: a handful of directions train an image generator. Choose it when
    only scores come back and samples are continuous. Spall, IEEE TAC 37, 1992; Nesterov
    and Spokoiny, Found. Comput. Math. 17, 2017.

    Args:
        directions: the family of directions and their number.
        central: central differences; otherwise forward ones.
        step: h, in the units of the emission; None chooses by dtype.

    Raises:
        ValueError: `step` is not positive.
    """

    traits = Traits(
        choose_when="only scores come back, and the critic is smooth on the scale "
        "of the step",
        access=Access.SCORES,
        deterministic=False,
        unbiased_for="the gradient up to O(step^2)",
        queries="2 K central, K + 1 forward; K = d along coordinates",
        crosses="samples, shifted and as they are",
        returns="scores",
        per_sample=True,
    )

    def __init__(
        self, directions: Directions, central: bool, step: float | None
    ) -> None:
        super().__init__()
        if step is not None and not step > 0:
            raise ValueError(
                f"step must be positive, got {step}; try 2e-2 for float32 images, or "
                "null to choose by dtype"
            )
        self.traits = replace(self.traits, deterministic=directions.deterministic)
        if (
            directions.deterministic and not central
        ):  # nothing averages the odd terms out
            self.traits = replace(
                self.traits, unbiased_for="the gradient up to O(step)"
            )
        self.directions = directions
        self.central = central
        self.step = step

    def estimate(
        self, critic: Critic, emission: Emission
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """Scores around the emission, and the pull that their differences give."""
        if not isinstance(emission, Tensor):
            raise ValueError(
                "FiniteDifferenceBridge shifts samples, and the emission is a "
                f"{type(emission).__name__}; choose score_function for distributions"
            )
        x = emission.detach()
        step, dim = self.step_for(x), x[0].numel()
        pull, sums = torch.zeros_like(wide(rows(x))), torch.zeros((), device=x.device)
        for u, v, scores in self._scored(critic, x, step):
            low, high = min(scores), max(scores)
            slopes = (scores[high] - scores[low]) / ((high - low) * step)
            add_weighted(pull, slopes, v)
            if self.central:
                for around in scores[high] + scores[low]:
                    sums = sums + around
            else:
                sums = scores[low][0]  # that of x itself, for each direction
            # What is small and lives on through the next forward breaks up the memory.
            del u, v, scores, slopes
        losses = sums / (2 * self.directions.count(dim)) if self.central else sums
        return losses, inner(pull * self.directions.weight(dim), emission)

    def queries_per_sample(self, dim: int) -> int:
        """Two for each direction (central); one each and one more (forward)."""
        num_directions = self.directions.count(dim)
        return 2 * num_directions if self.central else num_directions + 1

    def take(self, num_draws: int) -> None:
        """Take so many directions."""
        self.directions.take(num_draws)

    def relative_variance(self, dim: int) -> float | None:
        """That of the directions: both kinds of difference see a linear critic alike."""
        return self.directions.relative_variance(dim)

    def step_for(self, x: Float[Tensor, "batch *event"]) -> float:
        """The step h: the one given, or the default for the critic's precision at x."""
        if self.step is not None:
            return self.step
        dtype, device = x.dtype, x.device.type
        if dtype is torch.float32 and torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        forward, central = _DEFAULT_STEPS[dtype]
        return central if self.central else forward

    def _scored(
        self, critic: Critic, x: Float[Tensor, "batch *event"], step: float
    ) -> Iterator[Answers]:
        """Every block of directions, asked."""
        here = None if self.central else wide(critic(x))
        for drawn in self.directions.blocks(x, self.processes):
            u, v = self.directions.pair(drawn, x)
            if here is None:
                yield u, v, self._on_both_sides(critic, x, step * u)
            else:
                scores = wide(critic((step * u).add_(x), num_query_dims=1))
                yield u, v, {1: scores, 0: here.expand_as(scores)}
                del scores
            del drawn, u, v

    def _on_both_sides(
        self, critic: Critic, x: Tensor, shift: Tensor
    ) -> dict[int, Tensor]:
        asked = shift.new_empty(2, *shift.shape)
        torch.add(x, shift, out=asked[0])
        torch.sub(x, shift, out=asked[1])
        above, below = wide(critic(asked, num_query_dims=2))
        return {1: above, -1: below}
