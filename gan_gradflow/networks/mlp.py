"""Fully connected networks, for events of any shape.

    generator:      z -> [linear, norm, ReLU] x depth -> linear -> (tanh) -> event
    discriminator:  event, flattened -> [linear, norm, ReLU] x depth -> linear -> score

Depth counts hidden layers. On mixtures in the plane, widths 2-256-256-256-256-2 against
2-256-256-256-1 find all modes of the ring and the grid of PacGAN.
"""

from collections.abc import Sequence
from math import prod
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from gan_gradflow.networks.layers import (
    Norm,
    constrained,
    norm_layer,
    require_positive,
)


class MLPGenerator(nn.Module):
    """Samples of any shape from latents; choose it for points and small vectors.

    Costs about depth * width^2 multiplications per sample.

    Args:
        latent_dim: length of a latent.
        event_shape: shape of one sample.
        width: features of each hidden layer.
        depth: number of hidden layers.
        norm: what follows each hidden linear layer.
        output: "linear" for unbounded samples, "tanh" for images in [-1, 1].

    Raises:
        ValueError: a size is below 1, or the width does not suit group norm.
    """

    def __init__(
        self,
        latent_dim: int,
        event_shape: Sequence[int],
        width: int,
        depth: int,
        norm: Norm,
        output: Literal["linear", "tanh"],
    ) -> None:
        super().__init__()
        require_positive(latent_dim=latent_dim)
        self.latent_dim = latent_dim
        self.event_shape = _checked(event_shape)
        hidden = _hidden(latent_dim, width, depth, norm, False)
        self.layers = nn.Sequential(*hidden, nn.Linear(width, prod(event_shape)))
        self.output = nn.Tanh() if output == "tanh" else nn.Identity()

    def forward(
        self, latents: Float[Tensor, "batch latent_dim"]
    ) -> Float[Tensor, "batch *event"]:
        """One sample for each latent."""
        flat = self.output(self.layers(latents))
        return flat.reshape(len(latents), *self.event_shape)


class MLPDiscriminator(nn.Module):
    """Raw scores of samples of any shape; the counterpart of `MLPGenerator`.

    Costs about depth * width^2 multiplications per sample. With batch norm the score of
    a sample depends on its batch, which bridges and penalties per sample do not allow
    for: prefer "none" or "group".

    Args:
        event_shape: shape of one sample.
        width: features of each hidden layer.
        depth: number of hidden layers.
        norm: what follows each hidden linear layer.
        spectral_norm: divide each weight by its largest singular value.

    Raises:
        ValueError: a size is below 1, or the width does not suit group norm.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        width: int,
        depth: int,
        norm: Norm,
        spectral_norm: bool,
    ) -> None:
        super().__init__()
        self.event_shape = _checked(event_shape)
        inputs = prod(event_shape)
        self.layers = _hidden(inputs, width, depth, norm, spectral_norm)
        self.to_score = constrained(nn.Linear(width, 1), spectral_norm)

    def features(
        self, samples: Float[Tensor, "n *event"]
    ) -> Float[Tensor, "n features"]:
        """What the last layer sees of each sample."""
        return self.layers(samples.flatten(1))

    def forward(self, samples: Float[Tensor, "n *event"]) -> Float[Tensor, " n"]:
        """One raw score for each sample."""
        return self.to_score(self.features(samples)).squeeze(1)


def _checked(event_shape: Sequence[int]) -> tuple[int, ...]:
    if not event_shape or min(event_shape) < 1:
        raise ValueError(
            f"event_shape must hold sizes of at least 1, got {list(event_shape)}; use "
            "[2] for points in the plane"
        )
    return tuple(event_shape)


def _hidden(
    inputs: int, width: int, depth: int, norm: Norm, spectral_norm: bool
) -> nn.Sequential:
    require_positive(width=width, depth=depth)
    layers: list[nn.Module] = []
    for features in [inputs] + [width] * (depth - 1):
        # Batch norm subtracts whatever bias comes before it.
        linear = nn.Linear(features, width, bias=norm != "batch")
        layers += [
            constrained(linear, spectral_norm),
            norm_layer(norm, width, spatial=False),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)
