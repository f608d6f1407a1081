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
EVERY_SECOND = "callbacks.last_checkpoint.every_n_train_steps=2"
NO_SIGNAL = 0  # `kill` with it does nothing
PATIENCE = 300  # seconds for a whole run, on a machine that is busy with other work

pytestmark = pytest.mark.slow


def train(folder: Path, number: int, *more: str) -> subprocess.CompletedProcess:
    """A run whose second process gets a signal in its fourth iteration."""
    hurt = f"{{_target_: acting.SignalAt, iteration: 3, rank: 1, number: {number}}}"
    several = ("trainer=ddp", "trainer.devices=2", f"+callbacks.hurt={hurt}")
    return start(folder, *SHORT, *several, *more)


def start(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    paths = [str(ROOT), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": "1",
    }
    script = str(ROOT / "scripts" / "train.py")
    return subprocess.run(
        [sys.executable, script, *arguments],
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


def test_two_processes_that_were_killed_end_as_if_they_had_not_been(tmp_path) -> None:
    few = ("max_iterations=6", "bridge=relax", EVERY_SECOND)
    folders = [tmp_path / name for name in ("whole", "killed")]
    for folder, number in zip(folders, (NO_SIGNAL, signal.SIGKILL), strict=True):
        folder.mkdir()
        train(folder, number, *few)
    done = start(folders[1], "resume=outputs/two", "trust=[acting]")
    assert done.returncode == 0, done.stderr
    assert "going on after iteration 2" in done.stdout
    whole, killed = map(end_of, folders)
    assert whole["step"] == 6
    torch.testing.assert_close(killed, whole, rtol=0, atol=0)


def end_of(folder: Path) -> dict:
    """What a run came to: what learns, its optimizers, and every process's generators."""
    path = folder / "outputs" / "two" / "checkpoints" / "last.ckpt"
    contents = torch.load(path, weights_only=True)
    return {
        "step": contents["global_step"],
        "learned": contents["state_dict"],
        "moments": [optimizer["state"] for optimizer in contents["optimizer_states"]],
        "random": [own["torch"] for own in contents["gan_gradflow"]["random"]],
        "queries": contents["gan_gradflow"]["queries"],
    }
