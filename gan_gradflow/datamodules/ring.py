"""Gaussians on a ring: mu_j = radius (cos 2 pi j / m, sin 2 pi j / m), j = 0 .. m - 1."""

import math
from collections.abc import Sequence

import torch

from gan_gradflow.datamodules.mixture import GaussianMixtureDataModule


class RingDataModule(GaussianMixtureDataModule):
    """The ring of PacGAN (Lin et al., NeurIPS 2018): 8 modes, radius 1, sigma 0.01.

    Args:
        num_modes: modes on the ring.
        radius: the radius of the ring.
        sigma: the standard deviation of each mode.
        num_train: training samples.
        num_held_out: samples that training never sees.
        event_shape: `[2]`.
        batch_size: samples in a batch, over all processes.
        seed: what the samples and their order follow from.
        num_iterations: the length of the training loader.
        batches_per_iteration: batches that one iteration takes: n_critic.

    Raises:
        ValueError: `num_modes` is below 1, or `radius` is not positive.
    """

    def __init__(
        self,
        num_modes: int,
        radius: float,
        sigma: float,
        num_train: int,
        num_held_out: int,
        event_shape: Sequence[int],
        batch_size: int,
        seed: int,
        num_iterations: int,
        batches_per_iteration: int,
    ) -> None:
        if num_modes < 1:
            raise ValueError(f"num_modes must be at least 1, got {num_modes}; try 8")
        if radius <= 0:
            raise ValueError(f"radius must be positive, got {radius}; try 1.0")
        angle = torch.arange(num_modes) * (2 * math.pi / num_modes)
        super().__init__(
            radius * torch.stack([angle.cos(), angle.sin()], 1),
            sigma,
            num_train,
            num_held_out,
            event_shape,
            batch_size,
            seed,
            num_iterations,
            batches_per_iteration,
        )
