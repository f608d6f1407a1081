"""Ending a run when asked to: the signal's handler sets a flag and no more.

The iteration under way is finished, the state is saved, and the run ends with exit code
128 + the signal's number: 130 for SIGINT (Ctrl-C), 143 for SIGTERM, 138 and 140 for SIGUSR1
and SIGUSR2. A second Ctrl-C does not wait: the iteration under way is undone.
"""

import logging
import signal
import threading
from pathlib import Path
from types import FrameType

import lightning as L

from gan_gradflow.modules.checkpoint_io import FINAL, DurableCheckpointIO
from gan_gradflow.modules.nonfinite import NonFiniteError

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class GracefulStop(L.Callback):
    """However a run ends, its last whole state is in `checkpoint`; signals end it.

    A scheduler's own way of ending a run goes into a subclass's `after_saving`.

    Args:
        checkpoint: where the state is saved.

    Attributes:
        received: the signal that ended the run, or None; the same on every process.
        saved: where the last state is, or None if it could not be saved.
    """

    def __init__(self, checkpoint: str) -> None:
        self.checkpoint = Path(checkpoint)
        self.received: signal.Signals | None = None
        self.saved: Path | None = None
        self._flag = 0
        self._previous: dict[signal.Signals, signal._HANDLER] = {}

    def after_saving(self, trainer: L.Trainer) -> None:
        """Called on every process when the state is saved; nothing is left to do here."""

    def setup(
        self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str
    ) -> None:
        """Take over the signals."""
        self._take_over()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take over the signals again, after Lightning has taken them."""
        self._take_over()

    def on_train_batch_end(self, trainer, pl_module, *_) -> None:  # type: ignore[no-untyped-def]
        """If any process was asked to stop, all stop."""
        self.asked(trainer, pl_module)

    def asked(self, trainer: L.Trainer, pl_module: L.LightningModule) -> bool:
        """Whether the run is to end, as some process was asked; all processes call it."""
        number = pl_module.processes.largest(self._flag, pl_module.device)
        if number and self.received is None:
            self.received = signal.Signals(number)
            trainer.should_stop = True
            name, iteration = self.received.name, trainer.global_step
            log.warning("%s: stopping after iteration %d", name, iteration)
        return self.received is not None

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the last state."""
        self.save(trainer)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Save the last state, if it is whole and all processes are here to do it."""
        together = trainer.world_size == 1 or isinstance(exception, NonFiniteError)
        if pl_module.has_begun and pl_module.is_whole and together:
            self.save(trainer)

    def teardown(
        self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str
    ) -> None:
        """Give the signals back; after a failure, whoever called the trainer does."""
        self.give_back()

    def save(self, trainer: L.Trainer) -> None:
        """Save the state; all processes call it."""
        kept_by = trainer.strategy.checkpoint_io
        if isinstance(kept_by, DurableCheckpointIO):
            trainer.save_checkpoint(self.checkpoint, storage_options=FINAL)
            self.saved = kept_by.final
        else:
            trainer.save_checkpoint(self.checkpoint)
            self.saved = self.checkpoint
        self.after_saving(trainer)

    def _take_over(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may
        for number in SIGNALS:
            handler = signal.signal(number, self._set_flag)
            self._previous.setdefault(number, handler)

    def give_back(self) -> None:
        """Let signals do what they did before; Lightning puts ours back as it fails."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _set_flag(self, number: int, frame: FrameType | None) -> None:
        if self._flag and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._flag = self._flag or number
