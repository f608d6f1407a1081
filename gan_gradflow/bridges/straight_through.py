"""Straight-through: hard samples go out, and their gradient is taken for the emission's.

A draw b of a Bernoulli or one-hot categorical with chances p goes to the critic, and

    pull = d loss(b) / d b   on p,

as if b were p. A tensor x is rounded to the nearest multiple of a spacing, and the pull
on the rounded tensor is the pull on x; likewise for a channel behind the bridge that
autograd does not pass, such as JPEG. The derivative of a hard sample is zero almost
everywhere, so this is the gradient of nothing; it is exact for losses linear in b.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from gan_gradflow.bridges.base import GradientBridge, Traits
from gan_gradflow.bridges.distributions import two_valued
from gan_gradflow.critic import Critic
from gan_gradflow.types import Access, Emission


class StraightThroughBridge(GradientBridge):
    """Biased, of low variance, one query per sample.

    Choose it when the score function is too noisy and a bias is accepted; compare with
    `relax`, which is unbiased. Bengio, Leonard and Courville, arXiv 1308.3432, 2013.

    Args:
        spacing: what tensor emissions are rounded to multiples of; None leaves a tensor
            as it is, with nothing to pass straight through.

    Raises:
        ValueError: `spacing` is not positive.
    """

    traits = Traits(
        choose_when="samples are drawn or rounded to hard values, the critic can be "
        "differentiated, and a bias is accepted for little variance",
        access=Access.GRADIENT,
        deterministic=True,
        unbiased_for="nothing, unless the loss is linear in the hard sample",
        queries="1",
        crosses="hard samples",
        returns="d loss / d samples",
        per_sample=False,
        passes_straight_through=True,
    )

    def __init__(self, spacing: float | None) -> None:
        super().__init__()
        if spacing is not None and not spacing > 0:
            raise ValueError(
                f"spacing must be positive, got {spacing}; 2 / 255 for images in [-1, 1], "
                "null for no rounding"
            )
        self.spacing = spacing

    def estimate(
        self, critic: Critic, emission: Emission
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """The losses of hard samples, which are their own proxy."""
        if isinstance(emission, Distribution):
            soft = two_valued(emission, "StraightThroughBridge").probs
        else:
            soft = emission
        losses = critic(passed_through(self.samples(emission), soft))
        return losses, losses

    def queries_per_sample(self, dim: int) -> int:  # noqa: ARG002
        """One, whatever the dimension."""
        return 1

    def samples(self, emission: Emission) -> Tensor:
        """Draws, or rounded tensors."""
        if isinstance(emission, Distribution) or self.spacing is None:
            return super().samples(emission)
        return (emission.detach() / self.spacing).round() * self.spacing


def passed_through(
    hard: Float[Tensor, "*shape"], soft: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """The values of `hard`, to the last bit, with the gradient of `soft`."""
    return torch.add(hard.detach(), soft - soft.detach())
