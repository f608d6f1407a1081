"""Images whose pixels are drawn: Bernoulli, or one of several levels.

A network for images supplies a number in [-1, 1] for each pixel, or for each pixel and
level; times a gain it is the logit. A gain of 6 lets a chance be from 0.0025 to 0.9975.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Bernoulli, Categorical, Independent


class BernoulliGenerator(nn.Module):
    """Black or white pixels, 1 or 0, independent given the latent.

    With `channel=affine` the discriminator receives 1 and -1.

    Args:
        network: maps latents `[batch, latent_dim]` to numbers `[batch, *event]`.
        gain: what turns these into logits.

    Raises:
        ValueError: `gain` is not positive.
    """

    def __init__(self, network: nn.Module, gain: float) -> None:
        super().__init__()
        self.gain = _positive(gain)
        self.network = network
        self.latent_dim = network.latent_dim
        self.event_shape = network.event_shape

    def forward(self, latents: Float[Tensor, "batch latent_dim"]) -> Independent:
        """The distribution of an image for each latent."""
        logits = self.gain * self.network(latents)
        return Independent(Bernoulli(logits=logits), logits.ndim - 1)


class CategoricalGenerator(nn.Module):
    """Pixels of one of L levels, 0 to L - 1, independent given the latent.

    With `channel=affine channel.scale=2/(L-1)` the discriminator receives -1 to 1.

    Args:
        network: maps latents to numbers `[batch, channels * L, height, width]`.
        event_shape: channels, height and width of an image.
        gain: what turns the network's numbers into logits.

    Raises:
        ValueError: `gain` is not positive, or the network does not make at least two
            levels for each channel.
    """

    def __init__(
        self, network: nn.Module, event_shape: Sequence[int], gain: float
    ) -> None:
        super().__init__()
        made: Sequence[int] = network.event_shape  # type: ignore[assignment]
        levels, left = divmod(made[0], event_shape[0])
        if left or levels < 2 or tuple(made[1:]) != tuple(event_shape[1:]):
            raise ValueError(
                f"the network makes {list(made)} for images {list(event_shape)}; it must "
                f"make [{event_shape[0]} * levels, *{list(event_shape[1:])}] with at least "
                "two levels"
            )
        self.gain = _positive(gain)
        self.network = network
        self.levels = levels
        self.latent_dim = network.latent_dim
        self.event_shape = tuple(event_shape)

    def forward(self, latents: Float[Tensor, "batch latent_dim"]) -> Independent:
        """The distribution of an image for each latent."""
        logits = self.gain * self.network(latents).unflatten(1, (-1, self.levels))
        pixels = Categorical(logits=logits.movedim(2, -1))
        return Independent(pixels, len(self.event_shape))


def _positive(gain: float) -> float:
    if not gain > 0:
        raise ValueError(f"gain must be positive, got {gain}; try 6")
    return gain
