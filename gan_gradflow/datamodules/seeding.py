"""Randomness that follows from a seed and a place in the run, and from nothing else.

Seed and place are hashed, so neighbouring places have unrelated streams.
"""

import hashlib

import torch


def seed_for(seed: int, *place: int | str) -> int:
    """A seed for one place in the run, such as `(seed, "epoch", 3)`."""
    digest = hashlib.blake2b(repr((seed, *place)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")


def generator_for(seed: int, *place: int | str) -> torch.Generator:
    """A CPU generator for one place in the run."""
    return torch.Generator().manual_seed(seed_for(seed, *place))


def seed_draws(seed: int, device: torch.device) -> None:
    """Seed the global generators that draws on `device` come from.

    `torch.manual_seed` would visit every kind of device there might be, each time.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)
