"""Run folders as `train` leaves them, without the training."""

import json
from pathlib import Path

from omegaconf import OmegaConf
from PIL import Image

from gan_gradflow.callbacks.quality_record import QualityPoint, QualityRecord

DATA = {"_target_": "gan_gradflow.datamodules.ring.RingDataModule", "sigma": 0.01}
METRICS = {"_target_": "gan_gradflow.metrics.modes.ModeCoverage", "num_samples": 200}


def leave_run(
    folder: Path,
    *,
    bridge: str | dict = "exact",
    seed: int = 1,
    distances: tuple[float, ...] = (3.0, 2.0),
    **changes,
) -> Path:
    """A run of two iterations for each distance, of 10 queries a piece."""
    folder.mkdir(parents=True)
    if isinstance(bridge, str):
        bridge = {"_target_": f"gan_gradflow.bridges.{bridge}.Bridge"}
    config = {
        "data": {**DATA, "seed": seed, "batch_size": 10},
        "metrics": METRICS,
        "bridge": bridge,
        "seed": seed,
        "max_iterations": 2 * len(distances),
        "run_dir": str(folder),
    }
    OmegaConf.save(OmegaConf.create(config | changes), folder / "config.yaml")
    record = QualityRecord(folder / "quality.jsonl")
    for place, distance in enumerate(distances, 1):
        figures = {"modes": float(place), "distance": distance}
        record.append(QualityPoint(2 * place, 20 * place, 1.5 * place, place, figures))
    (folder / "samples").mkdir()
    grid = folder / "samples" / "iteration_0000004_averaged.png"
    for path in (grid, folder / "samples" / "reals.png"):
        Image.new("RGB", (8, 8)).save(path)
    summary = {
        "finished": True,
        "iterations": 2 * len(distances),
        "queries": 20 * len(distances),
        "primary": "distance",
        "quality": figures,
        "floor": {"modes": 8.0, "distance": 0.5},
        "machine": {"device": "cpu", "threads": 1, "torch": "2"},
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder
