"""Callbacks that harm a run on purpose."""

import os
import sys
import time
from pathlib import Path

import lightning as L


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
