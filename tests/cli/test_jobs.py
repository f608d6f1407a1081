"""Jobs run some at a time, and a signal to their runner ends them in order."""

import logging
import os
import signal
import sys

import pytest

from gan_gradflow.cli import jobs as running
from gan_gradflow.cli.jobs import Job, JobRunner, last_line

WAIT_FOR_SIGTERM = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("ready", flush=True)
time.sleep(60)
"""


def python(name: str, code: str, folder) -> Job:
    return Job(name, [sys.executable, "-c", code], folder / f"{name}.log")


def test_every_job_is_run_and_its_code_and_output_kept(tmp_path) -> None:
    ended = {}
    jobs = [
        python(str(code), f"print('hello {code}'); raise SystemExit({code})", tmp_path)
        for code in range(3)
    ]
    JobRunner(2).run(jobs, lambda job, code: ended.update({job.name: code}))
    assert ended == {"0": 0, "1": 1, "2": 2}
    assert [last_line(job.output) for job in jobs] == ["hello 0", "hello 1", "hello 2"]


@pytest.mark.parametrize("at_once", [1, 2])
def test_no_more_jobs_run_at_a_time_than_asked_for(tmp_path, at_once) -> None:
    place = tmp_path / "running"
    place.mkdir()
    code = f"""
import os, pathlib, time
mine = pathlib.Path({str(place)!r}, str(os.getpid()))
mine.touch(); time.sleep(0.1); print(len(os.listdir(mine.parent))); mine.unlink()
"""
    jobs = [python(str(index), code, tmp_path) for index in range(4)]
    JobRunner(at_once).run(jobs, lambda job, code: None)
    assert max(int(last_line(job.output)) for job in jobs) <= at_once


def test_a_signal_reaches_what_runs_and_starts_nothing_more(tmp_path) -> None:
    running = python("running", WAIT_FOR_SIGTERM, tmp_path)
    waker = f"""
import os, pathlib, signal, time
while "ready" not in pathlib.Path({str(running.output)!r}).read_text(): time.sleep(0.02)
os.kill({os.getpid()}, signal.SIGTERM)
time.sleep(60)
"""
    jobs = [running, python("waker", waker, tmp_path), python("later", "", tmp_path)]
    ended: dict[str, int] = {}
    runner = JobRunner(2)
    runner.run(jobs, lambda job, code: ended.update({job.name: code}))
    assert runner.received == signal.SIGTERM
    assert ended == {"running": 7, "waker": -signal.SIGTERM}
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_progress_is_what_a_run_logged_last_and_no_frame_of_a_table(
    tmp_path, caplog, monkeypatch
) -> None:
    monkeypatch.setattr(running, "_TELL_AFTER", 0.3)
    code = "print('17:17:18  iteration 5 of 60', flush=True); print('└──┘', flush=True)"
    jobs = [python("a", f"import time; {code}; time.sleep(2)", tmp_path)]
    with caplog.at_level(logging.INFO):
        JobRunner(1).run(jobs, lambda job, code: None)
    assert set(caplog.messages) == {"started a", "a: iteration 5 of 60"}
