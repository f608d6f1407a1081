"""Ending a run when asked to: the signal's handler sets a flag and no more.

The iteration under way is finished, the state is saved, and the run ends; a second
signal of the same kind ends the process at once, as it would have without this.
"""

import logging
import signal
from pathlib import Path
from types import FrameType

import lightning as L

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class GracefulStop(L.Callback):
    """However a run ends, its last state is in `checkpoint`; Ctrl-C and SIGTERM end it.

    Args:
        checkpoint: where the state is saved.

    Attributes:
        received: the signal that ended the run, or None.
    """

    def __init__(self, checkpoint: str) -> None:
        self.checkpoint = Path(checkpoint)
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, signal._HANDLER] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take over the signals, after Lightning has taken them."""
        for number in _SIGNALS:
            self._previous[number] = signal.signal(number, self._set_flag)

    def on_train_batch_end(self, trainer, pl_module, *_) -> None:  # type: ignore[no-untyped-def]
        """If asked to stop, stop."""
        if self.received is not None and not trainer.should_stop:
            trainer.should_stop = True
            name, iteration = self.received.name, trainer.global_step
            log.warning("%s: stopping after iteration %d", name, iteration)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the last state."""
        trainer.save_checkpoint(self.checkpoint)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Save the last state."""
        trainer.save_checkpoint(self.checkpoint)

    def teardown(
        self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str
    ) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _set_flag(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        signal.signal(number, self._previous[self.received])
