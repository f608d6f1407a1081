"""Residual networks without norms, after R3GAN, for 28, 32 and 64 pixels.

A block adds to its input x, with weights scaled so that no norm is needed,

    x + conv1x1_0( act( conv3x3_grouped( act( conv1x1(x) ) ) ) )

where act is a leaky ReLU (0.2) and the last convolution starts at zero, so that a new
network is the sum of its resamplings. Between stages bilinear interpolation doubles the
side, or averaging halves it, and a 1x1 convolution changes the number of maps:

    generator:      z -> linear -> [blocks, side x 2] x m -> blocks -> conv 1x1 -> tanh
    discriminator:  conv 1x1 -> [blocks, side / 2] x m -> blocks -> linear -> score

Huang, Gokaslan, Kuleshov and Tompkin, NeurIPS 2024; Zhang, Dauphin and Ma (Fixup), ICLR
2019. 28 pixels come from maps of side 7, 32 and 64 from 4.
"""

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, leaky_relu

from gan_gradflow.networks.layers import require_positive

_SMALLEST = {28: (7, 2), 32: (4, 3), 64: (4, 4)}  # pixels: (side, doublings)
_GAIN = 2**0.5  # of a leaky ReLU, nearly


class ResidualGenerator(nn.Module):
    """Images in [-1, 1] from latents; deeper and slower than `DCGANGenerator`.

    Choose it with the relativistic objective, R1 and R2, where time allows. No layer
    couples samples.

    Args:
        latent_dim: length of a latent.
        event_shape: channels, height and width of an image.
        width: maps at the full side, doubled at each halving of the side.
        num_blocks: residual blocks at each side.
        group_width: maps that a 3x3 convolution sees together.

    Raises:
        ValueError: images of this shape cannot be made, or a size is out of range.
    """

    def __init__(
        self,
        latent_dim: int,
        event_shape: Sequence[int],
        width: int,
        num_blocks: int,
        group_width: int,
    ) -> None:
        super().__init__()
        require_positive(latent_dim=latent_dim)
        self.latent_dim = latent_dim
        self.event_shape = tuple(event_shape)
        side, maps = _plan(event_shape, width, num_blocks, group_width)
        deepest, *_ = maps = maps[::-1]
        layers: list[nn.Module] = [
            _scaled(nn.Linear(latent_dim, deepest * side * side), 1.0),
            nn.Unflatten(1, (deepest, side, side)),
        ]
        for inputs, outputs in pairwise(maps):
            layers += [_Block(inputs, group_width) for _ in range(num_blocks)]
            layers += [_scaled(nn.Conv2d(inputs, outputs, 1), 1.0), _Doubled()]
        layers += [_Block(maps[-1], group_width) for _ in range(num_blocks)]
        to_image = _scaled(nn.Conv2d(maps[-1], event_shape[0], 1), 1.0)
        self.layers = nn.Sequential(*layers, to_image, nn.Tanh())

    def forward(
        self, latents: Float[Tensor, "batch latent_dim"]
    ) -> Float[Tensor, "batch *event"]:
        """One image for each latent."""
        return self.layers(latents)


class ResidualDiscriminator(nn.Module):
    """Raw scores of images; the counterpart of `ResidualGenerator`.

    Args:
        event_shape: channels, height and width of an image.
        width: maps at the full side, doubled at each halving of the side.
        num_blocks: residual blocks at each side.
        group_width: maps that a 3x3 convolution sees together.

    Raises:
        ValueError: images of this shape cannot be scored, or a size is out of range.
    """

    def __init__(
        self, event_shape: Sequence[int], width: int, num_blocks: int, group_width: int
    ) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        side, maps = _plan(event_shape, width, num_blocks, group_width)
        layers: list[nn.Module] = [_scaled(nn.Conv2d(event_shape[0], maps[0], 1), 1.0)]
        for inputs, outputs in pairwise(maps):
            layers += [_Block(inputs, group_width) for _ in range(num_blocks)]
            layers += [_Halved(), _scaled(nn.Conv2d(inputs, outputs, 1), 1.0)]
        layers += [_Block(maps[-1], group_width) for _ in range(num_blocks)]
        self.layers = nn.Sequential(*layers, nn.LeakyReLU(0.2), nn.Flatten())
        self.to_score = _scaled(nn.Linear(maps[-1] * side * side, 1), 1.0)

    def features(
        self, samples: Float[Tensor, "n *event"]
    ) -> Float[Tensor, "n features"]:
        """What the last layer sees of each image."""
        return self.layers(samples)

    def forward(self, samples: Float[Tensor, "n *event"]) -> Float[Tensor, " n"]:
        """One raw score for each image."""
        return self.to_score(self.features(samples)).squeeze(1)


class _Block(nn.Module):
    def __init__(self, maps: int, group_width: int) -> None:
        super().__init__()
        groups = maps // group_width
        spread = nn.Conv2d(maps, maps, 3, padding=1, groups=groups, bias=False)
        self.enter = _scaled(nn.Conv2d(maps, maps, 1, bias=False), _GAIN)
        self.spread = _scaled(spread, _GAIN)
        self.leave = nn.Conv2d(maps, maps, 1, bias=False)
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = leaky_relu(self.enter(x), 0.2)
        return x + self.leave(leaky_relu(self.spread(y), 0.2))


class _Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class _Halved(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return avg_pool2d(x, 2)


def _scaled(layer: nn.Linear | nn.Conv2d, gain: float) -> nn.Module:
    """The layer with weights that multiply the variance of its input by gain^2."""
    inputs = layer.weight[0].numel()
    nn.init.normal_(layer.weight, std=gain / inputs**0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _plan(
    event_shape: Sequence[int], width: int, num_blocks: int, group_width: int
) -> tuple[int, list[int]]:
    """The side of the smallest maps, and the number of maps from the full side down."""
    require_positive(width=width, num_blocks=num_blocks, group_width=group_width)
    shape = list(event_shape)
    if len(shape) != 3 or shape[1] != shape[2] or shape[1] not in _SMALLEST:
        raise ValueError(
            f"residual networks need event_shape [channels, side, side] with a side of "
            f"28, 32 or 64, got {shape}; resize the images, or choose mlp"
        )
    if width % group_width:
        raise ValueError(
            f"width is {width}, and group_width {group_width} does not divide it; use "
            f"width={group_width * max(1, width // group_width)}"
        )
    side, num_doublings = _SMALLEST[shape[1]]
    return side, [width * 2**level for level in range(num_doublings + 1)]
