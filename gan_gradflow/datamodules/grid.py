"""Gaussians on a square grid: mu = spacing (i - c, j - c), c = (side - 1) / 2."""

from collections.abc import Sequence

import torch

from gan_gradflow.datamodules.mixture import GaussianMixtureDataModule


class GridDataModule(GaussianMixtureDataModule):
    """The grid of PacGAN (Lin et al., NeurIPS 2018): {-4, -2, 0, 2, 4}^2, sigma 0.05.

    Args:
        side: modes along each side of the grid.
        spacing: the distance between neighbouring modes.
        sigma: the standard deviation of each mode.
        num_train: training samples.
        num_held_out: samples that training never sees.
        event_shape: `[2]`.
        batch_size: samples in a batch, over all processes.
        seed: what the samples and their order follow from.
        num_iterations: the length of the training loader.
        batches_per_iteration: batches that one iteration takes: n_critic.

    Raises:
        ValueError: `side` is below 1, or `spacing` is not positive.
    """

    def __init__(
        self,
        side: int,
        spacing: float,
        sigma: float,
        num_train: int,
        num_held_out: int,
        event_shape: Sequence[int],
        batch_size: int,
        seed: int,
        num_iterations: int,
        batches_per_iteration: int,
    ) -> None:
        if side < 1:
            raise ValueError(f"side must be at least 1, got {side}; try 5")
        if spacing <= 0:
            raise ValueError(f"spacing must be positive, got {spacing}; try 2.0")
        ticks = spacing * (torch.arange(side) - (side - 1) / 2)
        super().__init__(
            torch.cartesian_prod(ticks, ticks).view(-1, 2),
            sigma,
            num_train,
            num_held_out,
            event_shape,
            batch_size,
            seed,
            num_iterations,
            batches_per_iteration,
        )
