"""Data that live in memory as one tensor; `iteration_loader` says which batch is when."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import lightning as L
import torch
from jaxtyping import Shaped
from torch import Tensor

from gan_gradflow.datamodules.iteration_loader import (
    Batch,
    IterationLoader,
    as_floats,
)

__all__ = ["Batch", "DataSet", "TensorDataModule"]


class DataSet(NamedTuple):
    """A data set as it is stored: images as `uint8` `[n, channels, height, width]`."""

    train_reals: Tensor
    train_labels: Tensor | None
    held_out: Tensor
    held_out_labels: Tensor | None


class TensorDataModule(L.LightningDataModule, ABC):
    """A data set in memory, on the training device where that is a GPU.

    There are no worker processes: MNIST as `uint8` takes 47 MB, and a batch is one
    gather. A subclass supplies `load`, and `prepare_data` if it writes files.

    Args:
        event_shape: the shape of one sample; checked against the data.
        batch_size: samples in a batch, over all processes.
        seed: what the order of the samples follows from.
        num_iterations: the length of the training loader.
        batches_per_iteration: batches that one iteration takes: n_critic.

    Raises:
        ValueError: an argument below 1.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        batch_size: int,
        seed: int,
        num_iterations: int,
        batches_per_iteration: int,
    ) -> None:
        super().__init__()
        for name, value in (
            ("batch_size", batch_size),
            ("num_iterations", num_iterations),
            ("batches_per_iteration", batches_per_iteration),
        ):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}; try 64")
        self.event_shape = tuple(event_shape)
        self.batch_size = batch_size
        self.seed = seed
        self.num_iterations = num_iterations
        self.batches_per_iteration = batches_per_iteration

    @abstractmethod
    def load(self) -> DataSet:
        """Read or draw the data set; called once in each process."""

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002
        """Load the data set, unless that has been done.

        Raises:
            ValueError: the data are missing, damaged, or not of shape `event_shape`.
        """
        _ = self._data_set

    @property
    def train_reals(self) -> Tensor:
        """The training samples as they are stored, `[n, *event]`."""
        return self._data_set.train_reals

    @property
    def train_labels(self) -> Tensor | None:
        """The class of each training sample, `[n]`, or None."""
        return self._data_set.train_labels

    @property
    def held_out(self) -> Tensor:
        """The samples that training never sees, as they are stored."""
        return self._data_set.held_out

    @property
    def held_out_labels(self) -> Tensor | None:
        """The class of each held-out sample, or None."""
        return self._data_set.held_out_labels

    def train_floats(self, rows: slice | Tensor) -> Shaped[Tensor, "rows *event"]:
        """Training samples as floats, images in [-1, 1], on the CPU."""
        return as_floats(self.train_reals[rows])

    def held_out_floats(self, rows: slice | Tensor) -> Shaped[Tensor, "rows *event"]:
        """Held-out samples as floats, images in [-1, 1], on the CPU."""
        return as_floats(self.held_out[rows])

    def train_dataloader(self) -> IterationLoader:
        """The batches of every iteration, for this process.

        Raises:
            ValueError: the batch is larger than the data or does not divide over the
                processes.
        """
        rank, world_size = self._place()
        trainer = self.trainer
        return IterationLoader(
            self.train_reals,
            self.train_labels,
            batch_size=self.batch_size,
            seed=self.seed,
            num_iterations=self.num_iterations,
            batches_per_iteration=self.batches_per_iteration,
            rank=rank,
            world_size=world_size,
            device=trainer.strategy.root_device if trainer else torch.device("cpu"),
            processed=self._processed if trainer else None,
        )

    @cached_property
    def _data_set(self) -> DataSet:
        data_set = self.load()
        seen = tuple(data_set.train_reals.shape[1:])
        if seen != self.event_shape:
            raise ValueError(
                f"event_shape is {list(self.event_shape)}, and a sample of "
                f"{type(self).__name__} is {list(seen)}; set "
                f"data.event_shape={str(list(seen)).replace(' ', '')}"
            )
        return data_set

    def _place(self) -> tuple[int, int]:
        if self.trainer:
            return self.trainer.global_rank, self.trainer.world_size
        distributed = torch.distributed
        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank(), distributed.get_world_size()
        return 0, 1

    def _processed(self) -> int:
        # What the trainer has processed, and not what it has been given: a checkpoint
        # written by an exception in the middle of an iteration repeats that iteration.
        assert self.trainer is not None
        return self.trainer.fit_loop.epoch_loop.batch_progress.current.processed
