"""Iterations per second, as TensorBoard shows them."""

import time

import lightning as L


class Throughput(L.Callback):
    """Logs iterations per second since the last time it did, pauses included."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._since = time.monotonic()
        self._from = trainer.global_step

    def on_train_batch_end(self, trainer, pl_module, *_) -> None:  # type: ignore[no-untyped-def]
        """Log, whenever the losses are logged."""
        if trainer.global_step % trainer.log_every_n_steps:
            return
        now = time.monotonic()
        rate = (trainer.global_step - self._from) / max(now - self._since, 1e-9)
        self._since, self._from = now, trainer.global_step
        step = float(trainer.global_step)
        pl_module.log_dict({"speed/iterations_per_second": rate, "step": step})
