"""Nothing in between: y = x."""

from jaxtyping import Shaped
from torch import Tensor

from gan_gradflow.channels.base import Channel, ChannelTraits


class IdentityChannel(Channel):
    """Samples arrive as they are sent, at no cost."""

    traits = ChannelTraits(differentiable=True, deterministic=True)

    def __init__(self) -> None:
        super().__init__(on_reals=False, on_samples=False)

    def forward(
        self, samples: Shaped[Tensor, "n *event"]
    ) -> Shaped[Tensor, "n *event"]:
        """The samples themselves."""
        return samples
