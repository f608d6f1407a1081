"""Parts of a run for these tests: callbacks that harm it on purpose, an augmentation."""

import os
import sys
import time
from pathlib import Path

import lightning as L

from gan_gradflow.networks.augmentations import Augmentation


class Faded(Augmentation):
    """Each sample times its draw, so that a row tells what it drew."""

    num_draws = 1

    def __call__(self, samples, draws):
        """The samples, smaller."""
        return samples * draws.to(samples.dtype)


class SignalAt(L.Callback):
    """One process sends itself a signal at an iteration, once, and prints when."""

    def __init__(self, iteration: int, rank: int, number: int) -> None:
        self.iteration, self.rank, self.number = iteration, rank, number

    def on_train_batch_start(self, trainer, *_) -> None:
        here = (trainer.global_step, trainer.global_rank) == (self.iteration, self.rank)
        if here and not Path("signalled").exists():
            Path("signalled").touch()
            print(f"signalled at {time.time()}", file=sys.stderr, flush=True)
            os.kill(os.getpid(), self.number)
