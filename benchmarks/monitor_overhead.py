"""What watching costs: the gradient-flow monitor and the collapse alarm.

    python benchmarks/monitor_overhead.py                            # the main job
    python benchmarks/monitor_overhead.py bridge=finite_difference

Trains with both callbacks at intervals of a few iterations and times, in one and the same
run, every iteration and every call of a callback's hooks, in CPU seconds of the process:
their ratio is that of one machine at one time, whatever else runs on it. Prints
milliseconds per iteration, per measurement, and the share of
the training that a callback takes at the interval of `configs/callbacks/default.yaml`.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable

import lightning as L
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from gan_gradflow.callbacks.collapse_alarm import CollapseAlarm
from gan_gradflow.callbacks.gradient_flow import GradientFlow
from gan_gradflow.cli import CONFIG_DIR, build
from gan_gradflow.cli.console import quiet_libraries

SHORT = ("metrics.num_samples=500", "callbacks.sample_grid=null")
WATCHERS = {"gradient flow": GradientFlow, "collapse alarm": CollapseAlarm}


class Start(L.Callback):
    """When an iteration started: the last of the callbacks, so that none lies between."""

    now = 0.0

    def on_train_batch_start(self, *_) -> None:
        self.now = time.process_time()


class End(L.Callback):
    """How long each iteration took: the first of the callbacks."""

    def __init__(self, start: Start) -> None:
        self.start = start
        self.seconds: list[float] = []

    def on_train_batch_end(self, *_) -> None:
        self.seconds.append(time.process_time() - self.start.now)


def timed(hook: Callable, seconds: list[float]) -> Callable:
    """The hook, which adds the time it took to the last of `seconds`."""

    def wrapped(*arguments):
        started = time.process_time()
        hook(*arguments)
        seconds[-1] += time.process_time() - started

    return wrapped


def watch(callback: L.Callback) -> list[float]:
    """The seconds that its hooks take in each iteration."""
    seconds: list[float] = []

    def start(*arguments):
        seconds.append(0.0)
        begun(*arguments)

    begun = timed(callback.on_train_batch_start, seconds)
    callback.on_train_batch_start = start
    callback.on_train_batch_end = timed(callback.on_train_batch_end, seconds)
    return seconds


def configuration(folder: str, iterations: int, overrides: list[str]) -> dict:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        settings = [f"max_iterations={iterations}", f"run_dir={folder}", *SHORT]
        cfg = compose("train", settings + overrides, return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
    OmegaConf.set_struct(cfg, False)
    cfg.pop("hydra")
    return OmegaConf.to_container(cfg, resolve=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=120)
    parser.add_argument("--every", type=int, default=6)
    parser.add_argument("overrides", nargs="*", help="for the main job's configuration")
    args = parser.parse_args()
    quiet_libraries()
    with tempfile.TemporaryDirectory() as folder:
        config = configuration(folder, args.iterations, args.overrides)
        L.seed_everything(config["seed"], verbose=False)
        datamodule = build.build_datamodule(config)
        module = build.build_module(config)
        built = build.build_callbacks(config, datamodule, module)
        watchers = {
            name: next(c for c in built if isinstance(c, kind))
            for name, kind in WATCHERS.items()
        }
        intervals = {n: watcher.every_n_iterations for n, watcher in watchers.items()}
        for watcher in watchers.values():
            watcher.every_n_iterations = args.every
        spent = {name: watch(watcher) for name, watcher in watchers.items()}
        start = Start()
        end = End(start)
        trainer = build.build_trainer(config, [end, *built, start])
        trainer.fit(module, datamodule=datamodule)
    warm_up = args.iterations // 6
    step = statistics.median(end.seconds[warm_up:])
    table = Table(
        title=f"{' '.join(args.overrides) or 'the main job'}: ms, "
        f"{torch.get_num_threads()} threads"
    )
    for column in ("", "ms", "default interval", "share of the training"):
        table.add_column(column)
    table.add_row("iteration", f"{1e3 * step:.1f}")
    for name, seconds in spent.items():
        measured = [s for s in seconds[warm_up:] if s > 1e-3]
        idle = statistics.median([s for s in seconds[warm_up:] if s <= 1e-3])
        each = statistics.median(measured)
        share = (each / intervals[name] + idle) / step
        table.add_row(name, f"{1e3 * each:.1f}", str(intervals[name]), f"{share:.2%}")
    Console().print(table)


if __name__ == "__main__":
    main()
