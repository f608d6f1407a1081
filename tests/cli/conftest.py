"""The command line, called as the console script calls it."""

import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from gan_gradflow.cli import main

ROOT = Path(__file__).parents[2]


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def cli(monkeypatch, capfd, tmp_path):
    """Runs `gan-gradflow` with arguments in an empty folder; its code and output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GAN_GRADFLOW_DATA", str(ROOT / "data"))
    monkeypatch.setattr("sys.path", list(sys.path))  # the folder is added to it

    def run(*arguments: str) -> Result:
        monkeypatch.setattr("sys.argv", ["gan-gradflow", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capfd.readouterr()
        return Result(left.value.code, out, err)

    return run


@pytest.fixture
def train(cli):
    """Trains on the ring, briefly and with small networks."""

    def run(*arguments: str) -> Result:
        return cli("train", "experiment=ring", *SHORT, *arguments)

    return run


SHORT = (
    "max_iterations=4",
    "generator.width=16",
    "discriminator.width=16",
    "data.num_train=500",
    "data.batch_size=20",
    "metrics.num_samples=200",
    "callbacks.quality.every_n_iterations=2",
    "callbacks.sample_grid.every_n_iterations=2",
    "callbacks.sample_grid.num_samples=9",
    "callbacks.gradient_flow.every_n_iterations=2",
    "callbacks.collapse_alarm.every_n_iterations=2",
    "callbacks.last_checkpoint.every_n_train_steps=2",
    "trainer.log_every_n_steps=1",
    "run_name=short",
)
