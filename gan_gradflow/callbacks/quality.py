"""How good the averaged generator's samples are, every so many iterations."""

import lightning as L
import torch

from gan_gradflow.metrics.base import Reals, SampleQuality


class QualityReport(L.Callback):
    """Logs a sample quality against the held-out reals, and its floor once.

    The fakes come from the averaged generator in evaluation mode, at latents that the
    seed fixes: the same for each evaluation.

    Args:
        metric: what is measured.
        every_n_iterations: how often; it is measured at the end in any case.
        seed: what the latents follow from.

    Attributes:
        latest: the figures of the last evaluation.
        floor: the figures that two halves of the reals reach.
    """

    def __init__(
        self, metric: SampleQuality, every_n_iterations: int, seed: int
    ) -> None:
        if every_n_iterations < 1:
            raise ValueError(
                f"every_n_iterations must be at least 1, got {every_n_iterations}"
            )
        self.metric = metric
        self.every_n_iterations = every_n_iterations
        self.seed = seed
        self.latest: dict[str, float] = {}
        self.floor: dict[str, float] = {}

    def prepare(self, data: Reals) -> None:
        """Measure the reals, once.

        Raises:
            ValueError: the measure does not fit these data.
        """
        self.metric.prepare(data)
        self.floor = self.metric.floor()

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the floor."""
        if not self.floor:
            self.prepare(trainer.datamodule)
        for name, value in self.floor.items():
            for logger in trainer.loggers:
                logger.log_metrics({f"quality_floor/{name}": value}, step=0)

    def on_train_batch_end(self, trainer, pl_module, *_) -> None:  # type: ignore[no-untyped-def]
        """Measure the fakes, if it is time to."""
        last = trainer.global_step == trainer.max_steps
        if last or trainer.global_step % self.every_n_iterations == 0:
            self.latest = self.measure(pl_module)
            for (
                logger
            ) in trainer.loggers:  # once each, not at every interval from now on
                named = {f"quality/{name}": v for name, v in self.latest.items()}
                logger.log_metrics(named, step=trainer.global_step)
            if self.metric.primary is not None:  # for checkpoints, whatever its name
                best = self.latest[self.metric.primary]
                pl_module.log("quality/primary", best, logger=False)

    def measure(self, pl_module: L.LightningModule) -> dict[str, float]:
        """The figures of the averaged generator as it is now."""
        latents = torch.randn(
            self.metric.num_samples,
            pl_module.generator.latent_dim,
            generator=torch.Generator().manual_seed(self.seed),
        ).to(pl_module.device)
        return self.metric(pl_module.generator.sample(latents, averaged=True))
