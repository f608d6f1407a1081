"""How good the averaged generator's samples are, every so many iterations."""

import logging
import time
from typing import Any

import lightning as L
import torch

from gan_gradflow.callbacks.endurance import Endurance
from gan_gradflow.callbacks.quality_record import QualityPoint, QualityRecord
from gan_gradflow.metrics.base import Reals, SampleQuality

log = logging.getLogger(__name__)


class QualityReport(L.Callback):
    """Logs a sample quality against the held-out reals, and its floor beside it.

    The fakes come from the averaged generator in evaluation mode, at latents that the
    seed fixes: the same for each evaluation. Every measurement is also a line of `file`
    (see `quality_record`), with the queries and seconds that training took so far; they
    are all of it where nothing is measured.

    Args:
        metric: what is measured.
        every_n_iterations: how often; it is measured at the end in any case.
        seed: what the latents follow from.
        file: where the measurements are kept.

    Attributes:
        latest: the figures of the last evaluation.
        measured_in: its iteration; 0 before the first one.
        floor: the figures of samples as good as the data (`SampleQuality.floor`).
    """

    def __init__(
        self, metric: SampleQuality, every_n_iterations: int, seed: int, file: str
    ) -> None:
        if every_n_iterations < 1:
            raise ValueError(
                f"every_n_iterations must be at least 1, got {every_n_iterations}"
            )
        self.metric = metric
        self.every_n_iterations = every_n_iterations
        self.seed = seed
        self.record = QualityRecord(file)
        self._writing = Endurance("the record of quality")
        self.latest: dict[str, float] = {}
        self.measured_in = 0
        self.floor: dict[str, float] = {}
        self._prepared = False
        self._spent = (0.0, 0.0)  # seconds and CPU seconds until the clock started
        self._started = _clock()

    def prepare(self, data: Reals) -> None:
        """Take the reals that fakes are to be measured against.

        Raises:
            ValueError: the measure does not fit these data.
        """
        self.metric.prepare(data)
        self._prepared = True

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the reals, unless that has been done."""
        if not self._prepared:
            self.prepare(trainer.datamodule)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget what was measured after a checkpoint."""
        self._started = _clock()
        if trainer.is_global_zero:
            with self._writing():
                self.record.begin(trainer.global_step)

    def on_train_batch_end(self, trainer, pl_module, *_) -> None:  # type: ignore[no-untyped-def]
        """Measure the fakes, if it is time to."""
        last = trainer.global_step == trainer.max_steps or pl_module.budget_is_spent
        if last or trainer.global_step % self.every_n_iterations == 0:
            self._spent = self._elapsed()
            self.latest = self.measure(pl_module)
            self.measured_in = trainer.global_step
            self._keep(trainer, pl_module)
            self._started = _clock()

    def state_dict(self) -> dict[str, Any]:
        """The time that training took, and the last figures with their iteration."""
        seconds, cpu_seconds = self._elapsed()
        return {
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            "latest": self.latest,
            "measured_in": self.measured_in,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint left off."""
        self._spent = (state_dict["seconds"], state_dict["cpu_seconds"])
        self.latest = state_dict["latest"]
        self.measured_in = state_dict.get("measured_in", 0)  # older ones lack it

    def measure(self, pl_module: L.LightningModule) -> dict[str, float]:
        """The figures of the averaged generator as it is now.

        Every process draws its part of the fakes; the first one measures all of them.
        """
        if self.metric.num_samples == 0:
            return {}
        latents = torch.randn(
            self.metric.num_samples,
            pl_module.generator.latent_dim,
            generator=torch.Generator().manual_seed(self.seed),
        ).to(pl_module.device)
        processes = pl_module.processes
        # Equal parts for all: the first latents once more, where they do not divide.
        padding = latents[: -len(latents) % processes.size]
        part = processes.own(torch.cat([latents, padding]))
        fakes = processes.gather(pl_module.generator.sample(part, averaged=True))
        figures = self.metric(fakes[: len(latents)]) if processes.rank == 0 else {}
        return processes.from_first(figures)

    def _keep(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero and not self.floor:
            self.floor = self.metric.floor()
        named = {f"quality/{name}": value for name, value in self.latest.items()}
        named |= {f"quality_floor/{name}": value for name, value in self.floor.items()}
        for logger in trainer.loggers:  # once each, not at every interval from now on
            logger.log_metrics(named, step=trainer.global_step)
        if trainer.is_global_zero and self.latest:
            told = (f"{n.replace('_', ' ')} {v:.4g}" for n, v in self.latest.items())
            log.info(
                "quality in iteration %d: %s", trainer.global_step, ", ".join(told)
            )
        if trainer.is_global_zero:
            queries = pl_module.critic.queries
            spent = (trainer.global_step, queries, *self._spent)
            with self._writing():
                self.record.append(QualityPoint(*spent, self.latest))
        if self.metric.primary is not None:  # for checkpoints, whatever its name
            best = self.latest[self.metric.primary]
            pl_module.log("quality/primary", best, logger=False)

    def _elapsed(self) -> tuple[float, float]:
        seconds, cpu_seconds = _clock()
        return (
            self._spent[0] + seconds - self._started[0],
            self._spent[1] + cpu_seconds - self._started[1],
        )


def _clock() -> tuple[float, float]:
    return time.monotonic(), time.process_time()
