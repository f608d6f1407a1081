"""Layers and checks that more than one network is built from."""

from typing import Literal, TypeAlias

from torch import nn
from torch.nn.utils import parametrizations

Norm: TypeAlias = Literal["batch", "group", "none"]

_NUM_GROUPS = 8


def norm_layer(norm: Norm, channels: int, spatial: bool) -> nn.Module:
    """The layer that normalises `channels` features, or nothing.

    Only "batch" couples the samples of a batch and keeps running statistics; "group"
    normalises each sample in 8 groups of channels.

    Raises:
        ValueError: 8 groups do not divide `channels`.
    """
    if norm == "group":
        if channels % _NUM_GROUPS:
            raise ValueError(
                f"group norm cannot divide {channels} channels into {_NUM_GROUPS} "
                f"groups; choose a width that is a multiple of {_NUM_GROUPS}, or norm: "
                "none"
            )
        return nn.GroupNorm(_NUM_GROUPS, channels)
    if norm == "batch":
        return nn.BatchNorm2d(channels) if spatial else nn.BatchNorm1d(channels)
    return nn.Identity()


def constrained(layer: nn.Module, spectral_norm: bool) -> nn.Module:
    """The layer, its weight divided by its largest singular value if `spectral_norm`.

    One power iteration for each forward in training mode (Miyato et al., ICLR 2018).
    """
    return parametrizations.spectral_norm(layer) if spectral_norm else layer


def require_positive(**sizes: int) -> None:
    """Refuse sizes below 1, naming the first.

    Raises:
        ValueError: a size is below 1.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}; try 4")
