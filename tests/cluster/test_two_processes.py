"""`gan-gradflow train trainer=ddp trainer.devices=2`, as a user types it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
SHORT = (
    "experiment=ring",
    "max_iterations=1000",
    "generator.width=16",
    "discriminator.width=16",
    "data.num_train=500",
    "data.batch_size=20",
    "metrics.num_samples=201",
    "callbacks.quality.every_n_iterations=2",
    "callbacks.sample_grid.every_n_iterations=2",
    "callbacks.sample_grid.num_samples=9",
    "run_name=two",
)
PATIENCE = 300  # seconds for a whole run, on a machine that is busy with other work

pytestmark = pytest.mark.slow


def train(folder: Path, number: int) -> subprocess.CompletedProcess:
    """A run whose second process gets a signal in its fourth iteration."""
    hurt = f"{{_target_: acting.SignalAt, iteration: 3, rank: 1, number: {number}}}"
    paths = [str(ROOT), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": "1",
    }
    script = str(ROOT / "scripts" / "train.py")
    several = ("trainer=ddp", "trainer.devices=2", f"+callbacks.hurt={hurt}")
    return subprocess.run(
        [sys.executable, script, *SHORT, *several],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def left_over(folder: Path) -> list[str]:
    """Processes that still work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder:
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found


def test_a_signal_to_one_process_ends_all_with_one_of_everything(tmp_path) -> None:
    done = train(tmp_path, signal.SIGTERM)
    assert done.returncode == 143, done.stderr
    assert done.stdout.count("training in") == 1
    folder = tmp_path / "outputs" / "two"
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 4
    assert checkpoint["gan_gradflow"]["queries"] == 4 * 20
    assert len(checkpoint["gan_gradflow"]["random"]) == 2
    measured = (folder / "quality.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in measured] == [2, 4]
    assert len(list((folder / "tensorboard").glob("events*"))) == 1
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["two"]
    assert "2 processes, 10 of 20 samples each" in (folder / "train.log").read_text()


def test_a_process_that_dies_ends_all_within_a_minute(tmp_path) -> None:
    done = train(tmp_path, signal.SIGKILL)
    assert done.returncode == 1, done.stderr
    assert "process 1 was killed by SIGKILL" in done.stderr
    died = re.search(r"signalled at ([0-9.]+)", done.stderr)
    assert died
    assert time.time() - float(died[1]) < 60
    assert left_over(tmp_path) == []
