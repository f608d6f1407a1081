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
