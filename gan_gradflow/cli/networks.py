"""Whether the two networks, anybody's, are what the rest of a run takes them for."""

from typing import Any

import torch
from torch import nn
from torch.distributions import Distribution

from gan_gradflow.cli.errors import ConfigError
from gan_gradflow.modules.discriminator import DiscriminatorModule

_LATENT_DIM = ("latent_dim", "the length of a latent, such as 64")
_EVENT_SHAPE = ("event_shape", "the shape of one sample, such as (1, 28, 28)")


def check_generator(network: Any) -> None:
    """Refuse a generator without the attributes that are read of one.

    Raises:
        ConfigError: it is no module, lacks `latent_dim` or `event_shape`, or one of these
            or `num_classes` makes no sense.
    """
    _require("generator", network, _LATENT_DIM, _EVENT_SHAPE)
    _check_sizes("generator", network)


def check_discriminator(network: Any) -> None:
    """Refuse a discriminator without the attributes that are read of one.

    Raises:
        ConfigError: it is no module, scores positions and lacks `event_shape`, or that
            or `num_classes` makes no sense.
    """
    _require("discriminator", network)
    if getattr(network, "per_position", False):
        _require("discriminator", network, _EVENT_SHAPE)
    _check_sizes("discriminator", network)


def check_emission(network: nn.Module, emission: Any, batch: int) -> None:
    """Refuse an emission that is not one sample of the event's shape for each latent.

    Raises:
        ConfigError: it has another shape, or is neither a tensor nor a distribution.
    """
    name = type(network).__name__
    if isinstance(emission, Distribution):
        found = (*emission.batch_shape, *emission.event_shape)
    elif isinstance(emission, torch.Tensor):
        found = tuple(emission.shape)
    else:
        raise ConfigError(
            f"generator: {name} returns a {type(emission).__name__}; it must return "
            "samples, or a torch.distributions.Distribution of them"
        )
    expected = (batch, *network.event_shape)  # type: ignore[misc]
    if found != expected:
        raise ConfigError(
            f"generator: {name} turns {batch} latents into {list(found)}; by its "
            f"event_shape it must be {list(expected)}"
        )


def try_out(discriminator: DiscriminatorModule, event_shape: list[int]) -> None:
    """Let the discriminator score two samples, so that a misfit shows before the run.

    Raises:
        ConfigError: it cannot, or its scores have another shape than one for each sample.
    """
    num_samples = 2 * getattr(discriminator.network, "pack_size", 1)
    discriminator.eval()
    try:
        with torch.no_grad():
            labels = torch.zeros(num_samples, dtype=torch.int64)
            draws = torch.zeros(num_samples, discriminator.augmentation.num_draws)
            samples = torch.zeros(num_samples, *event_shape)
            scores = discriminator.augmented(samples, labels, draws)
    except Exception as error:
        told = " and their labels" if discriminator.conditional else ""
        raise ConfigError(
            f"discriminator: it cannot score samples of {event_shape}{told}: {error}"
        ) from error
    finally:
        discriminator.train()
    positions = discriminator.positions
    expected = [2] if positions is None else [2, positions]
    if list(scores.shape) != expected:
        found = list(scores.shape)
        hint = "; scores.squeeze(1) takes the last 1 away" if found == [2, 1] else ""
        raise ConfigError(
            f"discriminator: {type(discriminator.network).__name__} scores 2 samples with "
            f"{found}; it must return one score for each"
            f"{'' if positions is None else ' position'}, {expected}{hint}"
        )


def _require(key: str, network: Any, *needed: tuple[str, str]) -> None:
    name = type(network).__name__
    if not isinstance(network, nn.Module):
        raise ConfigError(f"{key}: {name} is no torch.nn.Module; derive it from one")
    lacking = [(a, what) for a, what in needed if getattr(network, a, None) is None]
    if lacking:
        set_them = " and ".join(f"self.{a} ({what})" for a, what in lacking)
        raise ConfigError(
            f"{key}: {name} has no {' and no '.join(a for a, _ in lacking)}; set "
            f"{set_them} in its __init__"
        )


def _check_sizes(key: str, network: nn.Module) -> None:
    for attribute in ("latent_dim", "num_classes"):
        size = getattr(network, attribute, None)
        if size is not None and not _is_size(size):
            raise ConfigError(
                f"{key}: {attribute} of {type(network).__name__} is {size!r}, and it must "
                "be a whole number of at least 1"
            )
    shape = getattr(network, "event_shape", ())
    if not isinstance(shape, (list, tuple)) or not all(map(_is_size, shape)):
        raise ConfigError(
            f"{key}: event_shape of {type(network).__name__} is {shape!r}, and it must "
            "hold whole numbers of at least 1, such as (1, 28, 28)"
        )


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
