"""Black or white: y = 1 where x > level, and -1 elsewhere."""

import torch
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.channels.base import Channel, ChannelTraits, nonfinite_kept


class ThresholdChannel(Channel):
    """Binary images. No gradient passes; a smoothed critic has one all the same.

    Args:
        level: what an element has to exceed.
        on_reals: whether the discriminator sees binary reals as well; without, grey pixels
            give every real away.
        on_samples: whether samples are shown and judged black and white.
    """

    traits = ChannelTraits(differentiable=False, deterministic=True)

    def __init__(self, level: float, on_reals: bool, on_samples: bool) -> None:
        super().__init__(on_reals, on_samples)
        self.level = level

    @torch.no_grad()
    def forward(self, samples: Float[Tensor, "n *event"]) -> Float[Tensor, "n *event"]:
        """1 or -1 for each element; NaN for what is not finite."""
        black_or_white = (samples > self.level).to(samples.dtype) * 2 - 1
        return nonfinite_kept(black_or_white, samples)
