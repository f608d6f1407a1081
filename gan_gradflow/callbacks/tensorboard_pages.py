"""How TensorBoard lays the figures out, and what its HPARAMS page compares."""

from typing import Any

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard.summary import hparams

from gan_gradflow.callbacks.quality import QualityReport

_LAYOUT = {
    "players": {
        "losses": ["Multiline", [r"loss/(generator|discriminator|penalty)"]],
        "scores": ["Multiline", [r"scores/(reals|fakes)"]],
        "parameter gradients": ["Multiline", [r"gradient_norm/.*"]],
    },
    "bridge": {
        "norm of the pull": ["Multiline", [r"pull/norm"]],
        "critic queries": ["Multiline", [r"critic/queries"]],
        "iterations per second, measuring included": [
            "Multiline",
            [r"speed/iterations_per_second"],
        ],
    },
    "gradient flow": {
        "cosine with the reference": [
            "Multiline",
            [r"gradient_flow/(pull|parameters)_cosine"],
        ],
        "scale, 1 if unbiased": [
            "Multiline",
            [r"gradient_flow/(pull|parameters)_scale"],
        ],
        "squared bias, of the norm's": [
            "Multiline",
            [r"gradient_flow/(pull|parameters)_squared_bias"],
        ],
        "noise, of the norm": ["Multiline", [r"gradient_flow/(pull|parameters)_noise"]],
        "signal to noise, in power": [
            "Multiline",
            [r"gradient_flow/(pull|parameters)_snr", r"queries/snr"],
        ],
        "draws of an adaptive plan": ["Multiline", [r"queries/draws"]],
        "queries of the monitor": ["Multiline", [r"gradient_flow/queries"]],
        "update to weight, generator": [
            "Multiline",
            [r"update_to_weight/generator/.*"],
        ],
        "update to weight, discriminator": [
            "Multiline",
            [r"update_to_weight/discriminator/.*"],
        ],
    },
    "quality": {
        "distance": ["Multiline", [r"quality/(frechet_distance|cell_kl)"]],
        "share covered": [
            "Multiline",
            [r"quality/(class_coverage|confidence|high_quality)"],
        ],
    },
    "collapse": {
        "diversity, 1 for reals": ["Multiline", [r"collapse/(spread|modes)"]],
        "discriminator is right in": ["Multiline", [r"collapse/accuracy"]],
        "margin of the scores": ["Multiline", [r"collapse/margin"]],
        "iterations since the best": ["Multiline", [r"collapse/iterations_since_best"]],
    },
}

MAIN_FIGURES = (
    *("frechet_distance", "cell_kl", "reverse_kl", "rmse"),
    *("oracle_nll", "self_bleu_gap"),
)
"""Those of our measures of quality: TensorBoard takes its columns from one of the runs."""


class TensorBoardPages(L.Callback):
    """A custom-scalars layout, and the configuration beside the quality's main figure.

    What TensorBoard was told before a checkpoint is on the disk with it.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write both before the first figure, once a run."""
        if not trainer.is_global_zero or trainer.global_step > 0:
            return
        config = _flat(pl_module.hparams["config"])
        primary = primary_of(trainer) or MAIN_FIGURES[0]
        columns = {f"quality/{name}": 0.0 for name in (*MAIN_FIGURES, primary)}
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_custom_scalars(_LAYOUT)
                logger.log_hyperparams(config)
                # Lightning would log a first value of each column as well.
                for summary in hparams(config, columns):
                    logger.experiment._get_file_writer().add_summary(summary)

    def on_save_checkpoint(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Leave no figure of an earlier iteration in memory, where a kill would take it."""
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.flush()


def primary_of(trainer: L.Trainer) -> str | None:
    """The name of the quality's main figure, if quality is measured."""
    for callback in trainer.callbacks:
        if isinstance(callback, QualityReport):
            return callback.metric.primary
    return None


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys and plain values of what makes one run differ from another."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            if prefix or key not in ("callbacks", "logger", "metrics", "trainer"):
                flat |= _flat(value, f"{prefix}{key}.")
        elif key == "_target_":
            flat[prefix.rstrip(".")] = value.rpartition(".")[2]
        elif not key.startswith("run_"):
            plain = isinstance(value, int | float) and not isinstance(value, bool)
            flat[f"{prefix}{key}"] = value if plain else str(value)
    return flat
