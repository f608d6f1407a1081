"""An alarm for a generator that collapses, and for a game that is lost.

Every so many iterations the signs of `collapse_signs` are measured and logged. Two things
make an alarm, when they are seen `patience` times running:

* *collapse*: the fakes' modes are below `least_modes` of the reals', or their spread below
  `least_spread` of the reals'. Modes are the sharper sign; the spread also depends on how
  sure a classifier is of the fakes, and is there for features in which modes blur;
* *a lost game*: the discriminator is right in more than `most_accuracy` of the pairs, and
  the quality's main figure has stood for so long: its last measurement was no better than
  an earlier one, and that is `patience` measurements of the signs ago. A discriminator that
  is nearly always right is no harm alone: it may still teach.
"""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn

from gan_gradflow.callbacks.collapse_signs import CollapseSigns, Signs
from gan_gradflow.callbacks.quality import QualityReport
from gan_gradflow.metrics.diversity import Diversity

log = logging.getLogger(__name__)


class CollapseAlarm(L.Callback):
    """Says when a run has collapsed, keeps its best checkpoint, and may end the run.

    Samples are told apart by what the quality measure looks at: a classifier's features
    for digits, otherwise their elements. `benchmarks/monitor_overhead.py` says what it
    costs, `benchmarks/collapse.py` what it finds and when it is silent.

    Args:
        every_n_iterations: how often it measures.
        num_samples: fakes, and reals, of a measurement.
        warm_up: iterations at the start in which nothing is an alarm: the samples of an
            untrained generator are all alike.
        patience: measurements running that make an alarm.
        least_modes: the share of the reals' modes that fakes must have.
        least_spread: the share of the reals' spread that fakes must have.
        most_accuracy: what the discriminator may reach while quality stands.
        on_collapse: whether an alarm ends the run.
        folder: where a copy of the best checkpoint goes; nothing overwrites it.
        seed: what latents and reals follow from.

    Raises:
        ValueError: a number is out of range.

    Attributes:
        alarms: a line for each alarm of the run.
    """

    def __init__(
        self,
        every_n_iterations: int,
        num_samples: int,
        warm_up: int,
        patience: int,
        least_modes: float,
        least_spread: float,
        most_accuracy: float,
        on_collapse: Literal["stop", "continue"],
        folder: str,
        seed: int,
    ) -> None:
        for name, value, least in (
            ("every_n_iterations", every_n_iterations, 1),
            ("num_samples", num_samples, 2),
            ("warm_up", warm_up, 0),
            ("patience", patience, 1),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        for name, share in (
            ("least_modes", least_modes),
            ("least_spread", least_spread),
        ):
            if not 0 < share < 1:
                raise ValueError(
                    f"{name} is a share of what reals have, above 0 and below 1, got "
                    f"{share}; try 0.5 for modes and 0.2 for the spread"
                )
        if not 0.5 < most_accuracy < 1:
            raise ValueError(
                "most_accuracy must be above 0.5, which is chance, and below 1, got "
                f"{most_accuracy}; try 0.995"
            )
        self.every_n_iterations = every_n_iterations
        self.num_samples = num_samples
        self.warm_up = warm_up
        self.patience = patience
        self.least_modes = least_modes
        self.least_spread = least_spread
        self.most_accuracy = most_accuracy
        self.on_collapse = on_collapse
        self.folder = Path(folder)
        self.seed = seed
        self.alarms: list[str] = []
        self._running = {"collapse": 0, "lost game": 0}
        self._best: tuple[float, int] | None = None  # main figure, iteration
        self._signs: CollapseSigns | None = None

    def prepare(self, data: Any, discriminator: nn.Module, others: list[Any]) -> None:
        """Measure the reals.

        Args:
            data: a data module.
            discriminator: the network; its `pack_size`, if it has one, divides samples.
            others: the callbacks of the run, among which quality is looked for.

        Raises:
            ValueError: fakes cannot be compared with these reals.
        """
        self._quality = next((c for c in others if isinstance(c, QualityReport)), None)
        self._signs = CollapseSigns(
            data.held_out_floats(slice(None)),
            data.held_out_labels,
            _features_of(self._quality),
            self.num_samples,
            self.seed,
            getattr(discriminator, "pack_size", 1),
        )

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measure the reals, unless that has been done."""
        if self._signs is None:
            network = pl_module.discriminator.network
            self.prepare(trainer.datamodule, network, trainer.callbacks)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget the reals: the next fit may have others."""
        self._signs = None

    def on_train_batch_end(self, trainer, pl_module, *_) -> None:  # type: ignore[no-untyped-def]
        """Measure, log and sound the alarm, if it is time to."""
        iteration = trainer.global_step
        self._follow_quality()
        if iteration % self.every_n_iterations:
            return
        assert self._signs is not None
        signs = self._signs.measure(pl_module)
        figures = {f"collapse/{name}": value for name, value in signs._asdict().items()}
        if self._best is not None:
            figures["collapse/iterations_since_best"] = self._standing(iteration)
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=iteration)
        due = self._count(signs, self._signs.least, iteration)
        # All processes measure the same but for rounding; they must not part over it.
        if trainer.strategy.reduce_boolean_decision(bool(due), all=False):
            self._sound(trainer, " and ".join(due) or "collapse", signs)

    def state_dict(self) -> dict[str, Any]:
        """What has been seen so far."""
        return {
            "alarms": list(self.alarms),
            "running": dict(self._running),
            "best": self._best,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what had been seen."""
        self.alarms = list(state_dict["alarms"])
        self._running = dict(state_dict["running"])
        self._best = state_dict["best"]

    def _follow_quality(self) -> None:
        figure = _main_figure(self._quality)
        if self._quality is None or figure is None:
            return
        if self._best is None or figure < self._best[0]:
            self._best = (figure, self._quality.measured_in)

    def _standing(self, iteration: int) -> int:
        """Iterations since the best quality; 0 until a later one was no better."""
        if self._quality is None or self._best is None:
            return 0
        best = self._best[1]
        return iteration - best if self._quality.measured_in > best else 0

    def _count(self, signs: Signs, least: Diversity, iteration: int) -> list[str]:
        """The alarms that are due now: each once, until its sign has been away.

        What reals themselves have at least is no collapse.
        """
        so_long = self.patience * self.every_n_iterations
        stands = self._standing(iteration) >= so_long
        seen = {
            "collapse": signs.modes < min(self.least_modes, least.modes)
            or signs.spread < min(self.least_spread, least.spread),
            "lost game": stands and signs.accuracy > self.most_accuracy,
        }
        for name, sign in seen.items():
            counts = sign and iteration > self.warm_up
            self._running[name] = self._running[name] + 1 if counts else 0
        return [name for name, n in self._running.items() if n == self.patience]

    def _sound(self, trainer: L.Trainer, what: str, signs: Signs) -> None:
        iteration = trainer.global_step
        line = (
            f"{what} in iteration {iteration}, {self.patience} measurements running: "
            f"modes {signs.modes:.2f} and spread {signs.spread:.2f} of the reals', the "
            f"discriminator right in {signs.accuracy:.3f} of the pairs by "
            f"{signs.margin:.1f} deviations{self._trend()}; {self._keep_best(trainer)}; "
            + ("stopping" if self.on_collapse == "stop" else "going on")
        )
        self.alarms.append(line)
        log.warning("%s", line)
        for logger in trainer.loggers:
            logger.log_metrics({"collapse/alarms": len(self.alarms)}, step=iteration)
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("collapse", line, iteration)
        if self.on_collapse == "stop":
            trainer.should_stop = True

    def _trend(self) -> str:
        figure = _main_figure(self._quality)
        if self._quality is None or figure is None or self._best is None:
            return ""
        best, iteration = self._best
        name = self._quality.metric.primary
        return f", {name} {figure:.4g} after {best:.4g} in iteration {iteration}"

    def _keep_best(self, trainer: L.Trainer) -> str:
        """Copy the best checkpoint, without one the last; what was done, in words."""
        writers = [c for c in trainer.callbacks if isinstance(c, ModelCheckpoint)]
        writers.sort(key=lambda writer: writer.monitor is None)
        written = [Path(w.best_model_path) for w in writers if w.best_model_path]
        path = next((path for path in written if path.is_file()), None)
        if path is None:
            return "there is no checkpoint yet to keep"
        copy = self.folder / f"{path.stem}_before_{trainer.global_step:07d}.ckpt"
        try:
            if trainer.is_global_zero:
                self.folder.mkdir(parents=True, exist_ok=True)
                partial = copy.with_suffix(".partial")
                shutil.copyfile(path, partial)
                partial.replace(copy)
        except (
            OSError
        ) as error:  # the run goes on, and its last state is kept elsewhere
            return f"{path} could not be kept ({error.strerror})"
        return f"kept {copy}"


def _features_of(quality: QualityReport | None) -> Callable[[Tensor], Tensor]:
    if quality is None:
        return lambda samples: samples.flatten(1)
    return quality.metric.features


def _main_figure(quality: QualityReport | None) -> float | None:
    """The quality's main figure as last measured, if it is measured at all."""
    if quality is None or quality.metric.primary is None:
        return None
    return quality.latest.get(quality.metric.primary)
