"""Observations that a simulator made at parameters which are then to be found again."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from gan_gradflow.datamodules.base import DataSet, TensorDataModule
from gan_gradflow.datamodules.seeding import seed_for


class SimulatedDataModule(TensorDataModule):
    """What would be measured, drawn once from the seed.

    Args:
        simulator: maps parameters `[n, k]` and a seed to observations `[n, *event]`.
        parameters: the true ones, which nobody else is told.
        num_train: observations to learn from.
        num_held_out: observations that training never sees.
        event_shape: the shape of an observation.
        batch_size: samples in a batch, over all processes.
        seed: what the observations and their order follow from.
        num_iterations: the length of the training loader.
        batches_per_iteration: batches that one iteration takes: n_critic.

    Raises:
        ValueError: a number of observations is below 1.
    """

    def __init__(
        self,
        simulator: Callable[[np.ndarray, int], np.ndarray],
        parameters: Sequence[float],
        num_train: int,
        num_held_out: int,
        event_shape: Sequence[int],
        batch_size: int,
        seed: int,
        num_iterations: int,
        batches_per_iteration: int,
    ) -> None:
        super().__init__(
            event_shape, batch_size, seed, num_iterations, batches_per_iteration
        )
        if min(num_train, num_held_out) < 1:
            raise ValueError(
                "num_train and num_held_out must be at least 1, got "
                f"{num_train} and {num_held_out}; try 20000 and 1000"
            )
        self.simulator = simulator
        self.parameters = tuple(parameters)
        self.num_train = num_train
        self.num_held_out = num_held_out

    def load(self) -> DataSet:
        """Simulate the observations; they have no classes."""
        train = self._observed(self.num_train, "train")
        return DataSet(train, None, self._observed(self.num_held_out, "held out"), None)

    def _observed(self, count: int, split: str) -> torch.Tensor:
        repeated = np.tile(np.array(self.parameters), (count, 1))
        outputs = self.simulator(repeated, seed_for(self.seed, split))
        return torch.from_numpy(outputs).float()
