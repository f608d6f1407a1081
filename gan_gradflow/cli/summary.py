"""The result of a run, for people and for programs."""

import platform
from pathlib import Path
from typing import Any

import lightning as L
import torch

from gan_gradflow.callbacks.collapse_alarm import CollapseAlarm
from gan_gradflow.callbacks.quality import QualityReport
from gan_gradflow.callbacks.sample_grid import SampleGrid
from gan_gradflow.modules.adversarial import AdversarialModule


def summarise(
    config: dict[str, Any],
    trainer: L.Trainer,
    module: AdversarialModule,
) -> dict[str, Any]:
    """What a run did, how long it took, how good it is, and where it lies."""
    run_dir = Path(config["run_dir"])
    quality = next((c for c in trainer.callbacks if isinstance(c, QualityReport)), None)
    paths = {
        "run_folder": run_dir,
        "checkpoint": run_dir / "checkpoints" / "last.ckpt",
        "best_checkpoint": run_dir / "checkpoints" / "best.ckpt",
        "sample_grid": _newest_grid(trainer),
    }
    return {
        "iterations": trainer.global_step,
        "seconds": round(module.seconds, 2),
        "queries": module.critic.queries,
        "skipped": module.skipped,
        "primary": quality.metric.primary if quality else None,
        "quality": quality.latest if quality else {},
        "floor": quality.floor if quality else {},
        "alarms": _alarms(trainer),
        "seed": config["seed"],
        "bridge": config["bridge"],
        "paths": {n: str(p) for n, p in paths.items() if p is not None and p.exists()},
        "machine": {
            "device": str(trainer.strategy.root_device),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


def _alarms(trainer: L.Trainer) -> list[str]:
    for callback in trainer.callbacks:
        if isinstance(callback, CollapseAlarm):
            return callback.alarms
    return []


def _newest_grid(trainer: L.Trainer) -> Path | None:
    for callback in trainer.callbacks:
        if isinstance(callback, SampleGrid):
            grids = sorted(callback.folder.glob("iteration_*_averaged.png"))
            return grids[-1] if grids else None
    return None
