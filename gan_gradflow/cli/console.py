"""What a command writes to the terminal and to its log."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def quiet_libraries() -> None:
    """Let Lightning's warnings through once, and its announcements not at all."""
    # Lightning 2.6 asks torch's tree utilities in a way that newer torch calls old.
    warnings.filterwarnings("ignore", ".*LeafSpec.*is deprecated", FutureWarning)
    # Whether a job was started as it has to be is checked by ourselves.
    warnings.filterwarnings("ignore", "The `srun` command is available")
    # Checkpoints are meant to hold the state after the iteration.
    warnings.filterwarnings("ignore", "Using ModelCheckpoint with manual optimization")
    # So convolutions leave their gradients; they are summed all the same.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    # It is the run's own, when a run goes on.
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
    for name in ("lightning", "lightning.pytorch", "lightning.fabric", "tensorboard"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.WARNING)


@contextmanager
def kept_log(path: Path | None, rank: int) -> Iterator[None]:
    """Inside, what is logged goes to the terminal and to a file, if there is one.

    Of several processes the first one tells all; the others tell of errors, and who they
    are.
    """
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    who = f"process {rank}: " if rank else ""
    form = logging.Formatter(f"%(asctime)s  {who}%(message)s", datefmt="%H:%M:%S")
    files = [] if path is None else [_RunLog(path, delay=rank > 0)]
    root.handlers[:] = [logging.StreamHandler(sys.stdout), *files]
    for handler in root.handlers:
        handler.setFormatter(form)
        handler.setLevel(logging.ERROR if rank else logging.NOTSET)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        for file in files:
            with suppress(OSError):
                file.close()


class _RunLog(WatchedFileHandler):
    """A log that a run outlives: made anew when it was deleted, given up when it cannot."""

    _failing = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, if the disk takes it."""
        try:
            Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
            super().emit(record)
        except OSError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        """Say once, on the terminal, that lines are lost."""
        if not self._failing:
            self._failing = True
            reason = sys.exc_info()[1]
            print(f"{self.baseFilename} cannot be written: {reason}", file=sys.stderr)


def print_summary(summary: dict[str, Any]) -> None:
    """The end of a run as a table."""
    table = Table(title="summary", show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # a path that is cut short cannot be copied
    table.add_row("iterations", f"{summary['iterations']:,}")
    table.add_row("time", f"{summary['seconds']:.0f} s")
    table.add_row("critic queries", f"{summary['queries']:,}")
    if summary["skipped"]:
        table.add_row("skipped iterations", f"{summary['skipped']:,} (not finite)")
    for name, value in summary["quality"].items():
        floor = summary["floor"].get(name)
        beside = "" if floor is None else f"   (reals against reals: {floor:.4g})"
        table.add_row(name.replace("_", " "), f"{value:.4g}{beside}")
    for line in summary["alarms"]:
        table.add_row("alarm", line)
    for name, path in summary["paths"].items():
        table.add_row(name.replace("_", " "), path)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def print_table(title: str, head: list[str], rows: list[list[str]]) -> None:
    """A table whose first column names the rows."""
    table = Table(title=title, title_justify="left")
    for place, name in enumerate(head):
        table.add_column(name, justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def print_evaluation(results: dict[str, Any]) -> None:
    """The figures of an evaluation beside their errors and floors, and what was written."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    title = f"{results['num_samples']:,} fakes of {results['checkpoint']}"
    table = Table(title=title, title_justify="left")
    for name in ("figure", "fakes", "bootstrap error", "reals against reals"):
        table.add_column(name, no_wrap=True)
    for name, value in results["quality"].items():
        floor = results["quality_floor"].get(name)
        table.add_row(*_evaluation_row(name, value, None, floor))
    if results["features"]:
        table.add_section()
        words = "in the {dimensions} features of {name}".format(**results["features"])
        table.add_row(f"[bold]{words}")
    for name, value in results["figures"].items():
        error, floor = results["error"].get(name), results["floor"].get(name)
        table.add_row(*_evaluation_row(name, value, error, floor))
    console.print(table)
    for name, path in results["paths"].items():
        console.print(f"{name.replace('_', ' ')}: {path}", soft_wrap=True)


def _evaluation_row(
    name: str, value: float, error: float | None, floor: float | None
) -> tuple[str, ...]:
    figures = ("" if figure is None else f"{figure:.4g}" for figure in (error, floor))
    return (name.replace("_", " "), f"{value:.4g}", *figures)
