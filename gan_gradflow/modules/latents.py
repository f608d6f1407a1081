"""The latents of an iteration, as a function of seed, iteration and rank."""

import torch
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.datamodules.seeding import generator_for


def iteration_latents(
    seed: int,
    iteration: int,
    *,
    shape: tuple[int, int, int],
    rank: int,
    world_size: int,
) -> Float[Tensor, "phases batch latent_dim"]:
    """Fresh latents for each update of an iteration: one rank's rows of the global batch.

    Args:
        seed: the run's.
        iteration: which iteration they are for.
        shape: phases, samples in this rank's batch, elements of a latent.
        rank: which process asks.
        world_size: how many processes share the global batch.
    """
    phases, batch, latent_dim = shape
    drawn = torch.randn(
        phases,
        batch * world_size,
        latent_dim,
        generator=generator_for(seed, "latents", iteration),
    )
    return drawn[:, rank * batch : (rank + 1) * batch]
