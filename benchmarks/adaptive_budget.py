"""Does an adaptive number of queries reach a quality with fewer than any fixed number?

    python benchmarks/adaptive_budget.py digits --iterations 600
    python benchmarks/adaptive_budget.py ring --iterations 2000

Trains with scores only (`bridge=finite_difference`, one-sided differences along K random
directions, K + 1 queries per sample) with fixed K and with `queries=adaptive` at two
signal-to-noise ratios, for as many iterations and with as many seeds each. Prints the
queries that each needed until the quality's main figure, measured every 25 iterations on
a short weight average, was below a threshold, and what it ended with. The thresholds are
what the worst and the best of the fixed numbers end with, so that the fixed numbers
themselves say what can be asked for.
"""

import argparse
import math
import statistics
import tempfile
from pathlib import Path
from typing import NamedTuple

import lightning as L
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from gan_gradflow.callbacks.quality_record import QualityPoint, QualityRecord
from gan_gradflow.cli import CONFIG_DIR, build
from gan_gradflow.cli.console import quiet_libraries


class Setting(NamedTuple):
    """A configuration, and the plans that it is trained with."""

    overrides: tuple[str, ...]
    fixed: tuple[int, ...]
    ratios: tuple[float, ...]
    bounds: tuple[int, int]


SETTINGS = {
    "ring": Setting(
        (
            "experiment=ring",
            "generator.width=128",
            "discriminator.width=128",
            "average_decay=0.99",
        ),
        fixed=(1, 2, 4, 8),
        ratios=(3.0, 10.0),
        bounds=(2, 16),
    ),
    "digits": Setting(
        (
            "generator.width=8",
            "discriminator.width=8",
            "average_decay=0.98",
            "metrics.num_samples=1000",
        ),
        fixed=(2, 4, 8, 16),
        ratios=(0.7, 2.0),
        bounds=(2, 32),
    ),
}
UNUSED = (
    "progress",
    "graceful_stop",
    "throughput",
    "collapse_alarm",
    "sample_grid",
    "tensorboard_pages",
    "last_checkpoint",
    "best_checkpoint",
)


def plans(setting: Setting) -> dict[str, tuple[str, ...]]:
    fixed = {
        f"fixed {k}": (f"bridge.directions.num_directions={k}",) for k in setting.fixed
    }
    smallest, largest = setting.bounds
    adaptive = {
        f"adaptive, snr {ratio}": (
            "queries=adaptive",
            f"queries.snr={ratio}",
            f"queries.smallest={smallest}",
            f"queries.largest={largest}",
        )
        for ratio in setting.ratios
    }
    return fixed | adaptive


def run(
    setting: Setting, overrides: tuple[str, ...], seed: int, iterations: int
) -> list[QualityPoint]:
    with tempfile.TemporaryDirectory() as folder:
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            cfg = compose(
                "train",
                [
                    "bridge=finite_difference",
                    *setting.overrides,
                    f"max_iterations={iterations}",
                    f"seed={seed}",
                    "callbacks.quality.every_n_iterations=25",
                    f"run_dir={folder}",
                    *(f"callbacks.{name}=null" for name in UNUSED),
                    *overrides,
                ],
                return_hydra_config=True,
            )
            HydraConfig.instance().set_config(cfg)
        OmegaConf.set_struct(cfg, False)
        cfg.pop("hydra")
        config = OmegaConf.to_container(cfg, resolve=True)
        config["logger"] = None
        L.seed_everything(seed, verbose=False)
        datamodule = build.build_datamodule(config)
        module = build.build_module(config)
        callbacks = build.build_callbacks(config, datamodule)
        trainer = build.build_trainer(config, callbacks)
        trainer.fit(module, datamodule=datamodule)
        return QualityRecord(Path(folder) / "quality.jsonl").read()


def main_figure(point: QualityPoint) -> float:
    return next(
        v for k, v in point.figures.items() if k in ("cell_kl", "frechet_distance")
    )


def queries_until(points: list[QualityPoint], threshold: float) -> float:
    reached = [point.queries for point in points if main_figure(point) <= threshold]
    return min(reached, default=math.inf)


def final(points: list[QualityPoint]) -> float:
    """The mean of the last three measurements."""
    return statistics.fmean(main_figure(point) for point in points[-3:])


def each(values: list[float]) -> str:
    return " / ".join("-" if v == math.inf else f"{v:.4g}" for v in values)


def verdict(needed: dict[str, float], threshold: float) -> str:
    """Who needed the fewest queries: a fixed number, or an adaptive one?"""
    fixed, adaptive = (
        min(
            (queries, name) for name, queries in needed.items() if name.startswith(kind)
        )
        for kind in ("fixed", "adaptive")
    )
    if adaptive[0] == math.inf:
        outcome = "never got there"
    else:
        outcome = f"took {adaptive[0]:.4g} thousand"
    saved = 1 - adaptive[0] / fixed[0] if fixed[0] < math.inf else math.nan
    return (
        f"to {threshold:.4g} (median over seeds): {fixed[1]} took {fixed[0]:.4g} thousand "
        f"queries, {adaptive[1]} {outcome}: "
        + (
            f"{saved:.0%} saved"
            if saved > 0
            else "no query saved, the claim fails here"
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    quiet_libraries()
    setting = SETTINGS[args.setting]
    found: dict[str, list[list[QualityPoint]]] = {}
    for name, overrides in plans(setting).items():
        found[name] = [
            run(setting, overrides, seed, args.iterations)
            for seed in range(1, args.seeds + 1)
        ]
        print(f"{name}: {each([final(points) for points in found[name]])}", flush=True)
    ends = {name: [final(p) for p in points] for name, points in found.items()}
    fixed = [statistics.median(ends[f"fixed {k}"]) for k in setting.fixed]
    thresholds = (max(fixed), min(fixed))
    table = Table(
        title=f"{args.setting}, {args.iterations} iterations, seeds 1 to {args.seeds}"
    )
    for column in ("plan", "thousand queries", "quality in the end"):
        table.add_column(column)
    for threshold in thresholds:
        table.add_column(f"thousand queries to {threshold:.4g}")
    medians: dict[str, list[float]] = {}
    for name, points in found.items():
        until = [[queries_until(p, t) / 1e3 for p in points] for t in thresholds]
        medians[name] = [statistics.median(one) for one in until]
        spent = statistics.fmean(p[-1].queries for p in points) / 1e3
        table.add_row(name, f"{spent:.0f}", each(ends[name]), *map(each, until))
    Console(width=120).print(table)
    for number, threshold in enumerate(thresholds):
        print(verdict({n: m[number] for n, m in medians.items()}, threshold))


if __name__ == "__main__":
    main()
