"""A pre-empted job goes back into the queue, whatever signals are about."""

import os
import signal
import stat

import pytest

from gan_gradflow.callbacks.requeueing_stop import _requeue


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """Put a shell script in the place of SLURM's command."""

    def write(*lines: str) -> None:
        file = tmp_path / "scontrol"
        file.write_text("\n".join(("#!/bin/sh", *lines)) + "\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return write


@pytest.mark.parametrize("name", ["USR1", "USR2", "TERM", "INT"])
def test_a_signal_to_every_process_of_the_job_does_not_end_the_command(
    name, scontrol, tmp_path
) -> None:
    scontrol(f"kill -{name} $$", f'echo "$@" > {tmp_path}/asked')
    assert _requeue("7")
    assert (tmp_path / "asked").read_text() == "requeue 7\n"
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_why_a_job_cannot_be_requeued_is_logged(scontrol, caplog) -> None:
    scontrol("echo Invalid job id specified >&2", "exit 1")
    assert not _requeue("7")
    assert "the job cannot be requeued: Invalid job id specified" in caplog.text


def test_a_command_that_says_nothing_is_named_by_its_status(scontrol, caplog) -> None:
    scontrol("exit 3")
    assert not _requeue("7")
    assert "scontrol ended with 3" in caplog.text
