"""Runs of `gan-gradflow train` for the benchmarks: start one, read what it measured."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_TRAIN = Path(__file__).parents[1] / "scripts" / "train.py"


def train(folder: Path, name: str, *overrides: str) -> Path:
    """Train in a folder; the folder of the run."""
    command = [sys.executable, str(_TRAIN), f"run_name={name}", *overrides]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder / "outputs" / name


def measured(run: Path) -> list[dict[str, Any]]:
    """Iteration, queries, seconds and figures of every measurement."""
    return [json.loads(line) for line in (run / "quality.jsonl").open()]


def listed(values: list[float], digits: int) -> str:
    """Numbers for a cell of a table, and their mean."""
    each = ", ".join(f"{value:.{digits}f}" for value in values)
    return f"{each} | {sum(values) / len(values):.{digits}f}"
