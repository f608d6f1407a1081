"""The batches of each training iteration, as a function of seed, iteration and rank.

With B the global batch size and m = floor(n / B) batches in an epoch over n samples,
global batch number b consists of the rows

    pi_e[s B], ..., pi_e[(s + 1) B - 1],    e = floor(b / m),  s = b mod m,

where pi_e is a permutation drawn from (seed, e). Iteration t takes the n_critic batches
from b = t n_critic on, and rank r of w the r-th of w equal parts of each. Nothing else
enters, so a run can resume at any iteration, and on another number of processes.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from gan_gradflow.datamodules.seeding import generator_for


class Batch(NamedTuple):
    """What one training iteration sees of the data, on one process."""

    reals: Shaped[Tensor, "n_critic batch *event"]
    labels: Int[Tensor, "n_critic batch"] | None

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device, where the loader has put it; Lightning asks each time."""
        labels = None if self.labels is None else self.labels.to(device)
        return Batch(self.reals.to(device), labels)


class IterationLoader:
    """An iterable over the batches of every training iteration, which can resume.

    The data are kept on `device` as they are stored; only the rows of a batch become
    floats, so an iteration costs one gather and no worker process.

    Args:
        reals: the training data, `[n, *event]`; `uint8` images become floats in [-1, 1].
        labels: the class of each row of `reals`, or None.
        batch_size: samples in a batch, over all processes.
        seed: what the permutations follow from.
        num_iterations: the length of the loader.
        batches_per_iteration: batches that one iteration takes, n_critic.
        rank: which of the processes this is.
        world_size: the number of processes that share a batch.
        device: where the data are kept and gathered.
        processed: asked for the number of iterations done when the state is saved; None
            counts those handed out. They differ in the middle of an iteration.

    Raises:
        ValueError: the batch is larger than the data or does not divide over the
            processes.
    """

    def __init__(
        self,
        reals: Tensor,
        labels: Tensor | None,
        *,
        batch_size: int,
        seed: int,
        num_iterations: int,
        batches_per_iteration: int,
        rank: int,
        world_size: int,
        device: torch.device,
        processed: Callable[[], int] | None = None,
    ) -> None:
        if batch_size > len(reals):
            raise ValueError(
                f"batch_size is {batch_size}, and there are only {len(reals)} training "
                f"samples; use data.batch_size={len(reals)} or less"
            )
        if batch_size % world_size:
            raise ValueError(
                f"batch_size is the batch over all processes, and {batch_size} does not "
                f"divide by {world_size} of them; use a multiple of {world_size}"
            )
        self._reals, self._labels = reals, labels
        self._batch_size, self._seed = batch_size, seed
        self._num_iterations = num_iterations
        self._batches_per_iteration = batches_per_iteration
        self._rank, self._world_size = rank, world_size
        self._device = device
        self._processed = processed
        self._first = 0
        self._handed_out = 0
        self._permutation = (-1, torch.empty(0, dtype=torch.long))

    def __len__(self) -> int:
        return self._num_iterations

    def __iter__(self) -> Iterator[Batch]:
        # A generator: a state that was loaded is consumed by the first batch taken, not
        # by an iterator that is created and dropped.
        first, self._first = self._first, 0
        for iteration in range(first, self._num_iterations):
            self._handed_out = iteration + 1
            yield self.batch(iteration)

    def batch(self, iteration: int) -> Batch:
        """The batches of one iteration, whatever has been asked for before."""
        self._reals = self._reals.to(self._device)
        start = iteration * self._batches_per_iteration
        numbers = range(start, start + self._batches_per_iteration)
        rows = torch.stack([self._rows(number) for number in numbers])
        if self._labels is None:
            return Batch(as_floats(self._reals[rows]), None)
        self._labels = self._labels.to(self._device)
        return Batch(as_floats(self._reals[rows]), self._labels[rows])

    def state_dict(self) -> dict[str, Any]:
        """The iteration at which a run goes on."""
        done = self._handed_out if self._processed is None else self._processed()
        return {"iteration": done}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next pass over the loader start at the saved iteration."""
        self._first = self._handed_out = state_dict["iteration"]

    def _rows(self, number: int) -> Int[Tensor, " batch"]:
        epoch, slot = divmod(number, len(self._reals) // self._batch_size)
        if self._permutation[0] != epoch:
            generator = generator_for(self._seed, "epoch", epoch)
            order = torch.randperm(len(self._reals), generator=generator)
            self._permutation = (epoch, order.to(self._device))
        share = self._batch_size // self._world_size
        start = slot * self._batch_size + self._rank * share
        return self._permutation[1][start : start + share]


def as_floats(reals: Tensor) -> Shaped[Tensor, "*shape"]:
    """`uint8` pixels 0 .. 255 as float32 in [-1, 1]; floats and tokens as they are."""
    return reals / 127.5 - 1 if reals.dtype == torch.uint8 else reals
