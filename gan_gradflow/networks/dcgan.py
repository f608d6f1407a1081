"""Strided convolutions for small square images, after DCGAN.

With w the width and m the number of doublings from the smallest map to the image,

    generator:      z -> linear -> 2^(m-1) w maps -> [conv-transpose 4x4, stride 2] x m,
                    halving the maps each time, the last to the image's channels -> tanh
    discriminator:  [conv 4x4, stride 2] x m, from w maps, doubling them each time
                    -> linear -> score

28 pixels come from maps of side 7 (m = 2), 32 from 4 (m = 3), 64 from 4 (m = 4). As in
Radford et al., ICLR 2016, ReLU in the generator, leaky ReLU (0.2) in the discriminator,
and no norm at the image. On a CPU both are faster in the channels-last memory format.
"""

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from gan_gradflow.networks.layers import (
    Norm,
    constrained,
    norm_layer,
    require_positive,
)

_SMALLEST = {28: (7, 2), 32: (4, 3), 64: (4, 4)}  # pixels: (side, doublings)


class DCGANGenerator(nn.Module):
    """Images in [-1, 1] from latents; choose it for 28, 32 or 64 pixels.

    Args:
        latent_dim: length of a latent.
        event_shape: channels, height and width of an image.
        width: maps of the largest hidden layer, doubled at each halving of the side.
        norm: what follows each hidden layer.

    Raises:
        ValueError: images of this shape cannot be made, a size is below 1, or the width
            does not suit group norm.
    """

    def __init__(
        self, latent_dim: int, event_shape: Sequence[int], width: int, norm: Norm
    ) -> None:
        super().__init__()
        require_positive(latent_dim=latent_dim, width=width)
        self.latent_dim = latent_dim
        self.event_shape = tuple(event_shape)
        channels, side, num_doublings = _plan(event_shape)
        maps = [width * 2**level for level in reversed(range(num_doublings))]
        layers: list[nn.Module] = [
            nn.Linear(latent_dim, maps[0] * side * side),
            nn.Unflatten(1, (maps[0], side, side)),
            norm_layer(norm, maps[0], spatial=True),
            nn.ReLU(),
        ]
        for inputs, outputs in pairwise(maps):
            # Batch norm subtracts whatever bias comes before it.
            layers += [
                nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=norm != "batch"),
                norm_layer(norm, outputs, spatial=True),
                nn.ReLU(),
            ]
        to_image = nn.ConvTranspose2d(maps[-1], channels, 4, 2, 1)
        self.layers = nn.Sequential(*layers, to_image, nn.Tanh())

    def forward(
        self, latents: Float[Tensor, "batch latent_dim"]
    ) -> Float[Tensor, "batch *event"]:
        """One image for each latent."""
        return self.layers(latents)


class DCGANDiscriminator(nn.Module):
    """Raw scores of images; the counterpart of `DCGANGenerator`.

    With batch norm the score of an image depends on its batch, which bridges and
    penalties per sample do not allow for: prefer "none" or "group".

    Args:
        event_shape: channels, height and width of an image.
        width: maps of the first layer, doubled at each halving of the side.
        norm: what follows each convolution but the first.
        spectral_norm: divide each weight by its largest singular value.

    Raises:
        ValueError: images of this shape cannot be scored, a size is below 1, or the
            width does not suit group norm.
    """

    def __init__(
        self, event_shape: Sequence[int], width: int, norm: Norm, spectral_norm: bool
    ) -> None:
        super().__init__()
        require_positive(width=width)
        self.event_shape = tuple(event_shape)
        channels, side, num_doublings = _plan(event_shape)
        maps = [width * 2**level for level in range(num_doublings)]
        layers: list[nn.Module] = [
            constrained(nn.Conv2d(channels, width, 4, 2, 1), spectral_norm),
            nn.LeakyReLU(0.2),
        ]
        for inputs, outputs in pairwise(maps):
            conv = nn.Conv2d(inputs, outputs, 4, 2, 1, bias=norm != "batch")
            layers += [
                constrained(conv, spectral_norm),
                norm_layer(norm, outputs, spatial=True),
                nn.LeakyReLU(0.2),
            ]
        # Flat before the last of them: the gradient on features comes flat, and maps in
        # channels-last order beside a flat gradient take ten times as long.
        layers.insert(-1, nn.Flatten())
        self.layers = nn.Sequential(*layers)
        to_score = nn.Linear(maps[-1] * side * side, 1)
        self.to_score = constrained(to_score, spectral_norm)

    def features(
        self, samples: Float[Tensor, "n *event"]
    ) -> Float[Tensor, "n features"]:
        """What the last layer sees of each image."""
        return self.layers(samples)

    def forward(self, samples: Float[Tensor, "n *event"]) -> Float[Tensor, " n"]:
        """One raw score for each image."""
        return self.to_score(self.features(samples)).squeeze(1)


def _plan(event_shape: Sequence[int]) -> tuple[int, int, int]:
    """Channels, the side of the smallest maps, and the doublings from there."""
    shape = list(event_shape)
    if len(shape) != 3:
        raise ValueError(
            f"DCGAN needs event_shape [channels, height, width], got {shape}; choose "
            "mlp for samples that are not images"
        )
    channels, height, width = shape
    if channels < 1:
        raise ValueError(
            f"DCGAN needs at least 1 channel, got {channels} in event_shape {shape}"
        )
    if height != width or height not in _SMALLEST:
        raise ValueError(
            f"DCGAN cannot handle {height} x {width} images; resize them to 28 x 28, "
            "32 x 32 or 64 x 64 pixels, or choose mlp"
        )
    return channels, *_SMALLEST[height]
