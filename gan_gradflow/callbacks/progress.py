"""How far a run has come: a bar on a terminal, a line every few seconds elsewhere."""

import logging
import sys
import time

import lightning as L
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

log = logging.getLogger(__name__)


class ProgressReport(L.Callback):
    """Iterations, iterations per second, losses, critic queries, and the time left.

    Args:
        every_n_seconds: how often a line is written where there is no terminal.
    """

    def __init__(self, every_n_seconds: float) -> None:
        if not every_n_seconds > 0:
            raise ValueError(
                f"every_n_seconds must be positive, got {every_n_seconds}; try 10"
            )
        self.every_n_seconds = every_n_seconds
        self._bar: Progress | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock, and the bar if there is a terminal to draw it on."""
        self._started = self._shown = time.monotonic()
        self._first = trainer.global_step
        if trainer.is_global_zero and sys.stdout.isatty():
            self._bar = Progress(
                TextColumn("[bold]training"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                TimeRemainingColumn(),
                console=Console(),
            )
            self._task = self._bar.add_task(
                "", total=trainer.max_steps, completed=self._first, figures=""
            )
            self._bar.start()

    def on_train_batch_end(self, trainer, pl_module, *_) -> None:  # type: ignore[no-untyped-def]
        """Show where the run is, if it is time to."""
        now = time.monotonic()
        wait = 0.2 if self._bar else self.every_n_seconds
        if not trainer.is_global_zero or now - self._shown < wait:
            return
        self._shown = now
        if self._bar:
            figures = self._figures(trainer, pl_module)
            self._bar.update(self._task, completed=trainer.global_step, figures=figures)
        else:
            left = (trainer.max_steps - trainer.global_step) / self._rate(trainer)
            log.info(
                "iteration %d of %d  %s  %d s left",
                trainer.global_step,
                trainer.max_steps,
                self._figures(trainer, pl_module),
                left,
            )

    def teardown(self, trainer, pl_module, stage: str) -> None:  # type: ignore[no-untyped-def]
        """Take the bar down, however the run ended."""
        if self._bar:
            if stage == "fit":
                self._bar.update(self._task, completed=trainer.global_step)
            self._bar.stop()
            self._bar = None

    def _rate(self, trainer: L.Trainer) -> float:
        elapsed = max(time.monotonic() - self._started, 1e-9)
        return max(trainer.global_step - self._first, 1) / elapsed

    def _figures(self, trainer: L.Trainer, pl_module: L.LightningModule) -> str:
        scalars = pl_module.scalars
        return (
            f"{self._rate(trainer):.1f} it/s  "
            f"loss G {float(scalars['loss/generator']):.3f} "
            f"D {float(scalars['loss/discriminator']):.3f}  "
            f"{pl_module.critic.queries:,} queries"
        )
