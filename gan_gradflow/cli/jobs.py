"""Commands that run in processes of their own, some at a time."""

import contextlib
import logging
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LOOK_AGAIN_AFTER = 0.1  # seconds
_TELL_AFTER = 30.0
_LOGGED = re.compile(r"\d\d:\d\d:\d\d\s+(.+)")


class Job(NamedTuple):
    """A command, what to call it, and the file that gets its output."""

    name: str
    command: list[str]
    output: Path


class JobRunner:
    """Runs jobs, and passes a signal that asks this process to end on to them.

    Each job is a process group of its own, so that Ctrl-C reaches it through here alone.

    Args:
        at_once: how many jobs run at a time.

    Attributes:
        received: the signal that ended the running, or None.
    """

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once
        self.received: signal.Signals | None = None
        self._running: dict[str, tuple[Job, subprocess.Popen[bytes]]] = {}

    def run(self, jobs: list[Job], ended: Callable[[Job, int], None]) -> None:
        """Run all jobs; a signal starts no more of them, and waits for those that run.

        Args:
            jobs: in the order in which they start.
            ended: told of each job with its exit code.
        """
        waiting, told = list(jobs), time.monotonic()
        with self._signals_taken():
            while self._running or (waiting and not self.received):
                while waiting and not self.received and self._has_room():
                    self._start(waiting.pop(0))
                self._collect(ended)
                if time.monotonic() - told > _TELL_AFTER:
                    told = time.monotonic()
                    for job, _ in self._running.values():
                        if said := last_logged(job.output):
                            log.info("%s: %s", job.name, said)
                time.sleep(_LOOK_AGAIN_AFTER)

    def _has_room(self) -> bool:
        return len(self._running) < self.at_once

    def _start(self, job: Job) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        threads = str(max(1, cores // self.at_once))
        job.output.parent.mkdir(parents=True, exist_ok=True)
        with job.output.open("ab") as output:
            process = subprocess.Popen(
                job.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"OMP_NUM_THREADS": threads, **os.environ},
                start_new_session=True,
            )
        self._running[job.name] = (job, process)
        log.info("started %s", job.name)

    def _collect(self, ended: Callable[[Job, int], None]) -> None:
        for name, (job, process) in list(self._running.items()):
            code = process.poll()
            if code is not None:
                del self._running[name]
                ended(job, code)

    @contextlib.contextmanager
    def _signals_taken(self) -> Iterator[None]:
        previous = {number: signal.signal(number, self._pass_on) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            for _, process in self._running.values():  # something went wrong here
                process.terminate()

    def _pass_on(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.received = signal.Signals(number)
        for _, process in self._running.values():
            process.send_signal(number)


def last_line(path: Path) -> str:
    """The last line of a file that says something."""
    return next((line for line in _lines_back(path) if line), "")


def last_logged(path: Path) -> str:
    """The last line that begins with a time, as those of a log do, without the time."""
    found = (_LOGGED.fullmatch(line) for line in _lines_back(path))
    return next((line[1] for line in found if line), "")


def _lines_back(path: Path) -> Iterator[str]:
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return (line.strip() for line in reversed(lines))
