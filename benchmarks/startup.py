"""How long a command takes until it does something.

    python benchmarks/startup.py

`--help`, the configuration, and the main job (MNIST unpacked before) until its first
iteration is done, and until the end of a run of one iteration, with and without what a
run measures then. Seconds of the processor and on the clock, the least of a few runs.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lightning as L
from rich.console import Console
from rich.table import Table

BARE = ["metrics=none", "callbacks.quality=null", "callbacks.collapse_alarm=null"]
BARE += ["callbacks.best_checkpoint=null", "callbacks.sample_grid=null"]
COMMANDS = {
    "gan-gradflow --help": ["--help"],
    "gan-gradflow train --cfg job": ["train", "--cfg", "job"],
    "gan-gradflow train, until the first iteration is done": [
        "train",
        "max_iterations=1",
        "+callbacks.first._target_=startup.EndsAtOnce",
    ],
    "gan-gradflow train max_iterations=1": ["train", "max_iterations=1"],
    "the same without quality and pictures": ["train", "max_iterations=1", *BARE],
}
PROGRAM = "from gan_gradflow.cli import main; main()"


class EndsAtOnce(L.Callback):
    """Ends the process after the first iteration."""

    def on_train_batch_start(self, trainer, *_) -> None:
        # The first of all, before what others measure at the end of an iteration.
        trainer.callbacks.sort(key=lambda callback: callback is not self)

    def on_train_batch_end(self, *_) -> None:
        os._exit(0)


def once(arguments: list[str], root: str) -> tuple[float, float]:
    if "max_iterations=1" in arguments:
        arguments = [*arguments, f"data.root={root}"]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", PROGRAM, *arguments]
        path = {
            "PYTHONPATH": f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}"
        }
        subprocess.run(
            command, cwd=folder, env=os.environ | path, check=True, capture_output=True
        )
    after, end = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return processor, end - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    table = Table("command", "processor, s", "clock, s")
    with tempfile.TemporaryDirectory() as root:
        for name, arguments in COMMANDS.items():
            runs = [once(arguments, root) for _ in range(args.runs + 1)][1:]
            table.add_row(
                name, *(f"{min(column):.2f}" for column in zip(*runs, strict=True))
            )
    Console().print(table)


if __name__ == "__main__":
    main()
