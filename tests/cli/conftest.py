"""The command line, called as the console script calls it."""

import sys
from typing import NamedTuple

import pytest
from short_run import ROOT, SHORT

from gan_gradflow.cli import main


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
