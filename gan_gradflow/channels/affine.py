"""A change of units: y = scale x + shift."""

from jaxtyping import Shaped
from torch import Tensor

from gan_gradflow.channels.base import Channel, ChannelTraits


class AffineChannel(Channel):
    """The zeros and ones of a Bernoulli generator as pixels -1 and 1, with 2 and -1.

    Args:
        scale: the factor.
        shift: what is added.
        on_reals: whether reals are changed as well.
        on_samples: whether samples are shown and judged in the new units.

    Raises:
        ValueError: `scale` is zero.
    """

    traits = ChannelTraits(differentiable=True, deterministic=True)

    def __init__(
        self, scale: float, shift: float, on_reals: bool, on_samples: bool
    ) -> None:
        super().__init__(on_reals, on_samples)
        if scale == 0:
            raise ValueError("scale must not be zero; use 1 to leave the unit as it is")
        self.scale = scale
        self.shift = shift

    def forward(
        self, samples: Shaped[Tensor, "n *event"]
    ) -> Shaped[Tensor, "n *event"]:
        """scale x + shift."""
        return self.scale * samples + self.shift
