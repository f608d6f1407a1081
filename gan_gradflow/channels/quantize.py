"""A quantiser of k bits: the nearest of L = 2^k levels, spread evenly over [-1, 1].

    y = 2 round((clip(x, -1, 1) + 1) / 2 (L - 1)) / (L - 1) - 1

Its derivative is 0 almost everywhere, and undefined in between.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.channels.base import Channel, ChannelTraits, nonfinite_kept


class QuantizeChannel(Channel):
    """Pixels of few levels; one bit leaves -1 and 1.

    Args:
        bits: k, from 1 to 16.
        on_reals: whether the discriminator sees quantised reals as well; without, it
            tells the two apart by their levels.
        on_samples: whether samples are shown and judged quantised.

    Raises:
        ValueError: `bits` is outside 1 .. 16.
    """

    traits = ChannelTraits(differentiable=False, deterministic=True)

    def __init__(self, bits: int, on_reals: bool, on_samples: bool) -> None:
        super().__init__(on_reals, on_samples)
        if not 1 <= bits <= 16:
            raise ValueError(f"bits must be from 1 to 16, got {bits}; try 2")
        self.bits = bits

    @torch.no_grad()
    def forward(self, samples: Float[Tensor, "n *event"]) -> Float[Tensor, "n *event"]:
        """The nearest level to each element; NaN for what is not finite."""
        steps = 2**self.bits - 1
        levels = (((samples.clamp(-1, 1) + 1) / 2 * steps).round() / steps) * 2 - 1
        return nonfinite_kept(levels, samples)
