"""A radio channel with additive white Gaussian noise: y = x + sigma e, e ~ N(0, I).

The gradient of E f(x + sigma e) in x is E grad f(x + sigma e), so autograd through one draw
is unbiased: every bridge can be judged against it. Noise is drawn anew whenever a sample
is sent, as in the air. Differences of scores therefore carry the noise of two messages,
divided by the step: choose a step of the order of sigma, or the score function.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.channels.base import Channel, ChannelTraits


class AWGNChannel(Channel):
    """Adds noise. With noisy reals the generator learns what they were before the noise.

    Bora, Price and Dimakis (AmbientGAN), ICLR 2018; for communication without a model of
    the channel, Aoudia and Hoydis, Asilomar 2018.

    Args:
        sigma: standard deviation of the noise, in the unit of the samples.
        on_reals: whether the discriminator sees reals through the noise as well.
        on_samples: whether samples are shown and judged with noise.

    Raises:
        ValueError: `sigma` is negative.
    """

    traits = ChannelTraits(differentiable=True, deterministic=False)

    def __init__(self, sigma: float, on_reals: bool, on_samples: bool) -> None:
        super().__init__(on_reals, on_samples)
        if not sigma >= 0:
            raise ValueError(f"sigma must not be negative, got {sigma}; try 0.1")
        self.sigma = sigma

    def forward(self, samples: Float[Tensor, "n *event"]) -> Float[Tensor, "n *event"]:
        """x + sigma e."""
        return samples + self.sigma * torch.randn_like(samples)
