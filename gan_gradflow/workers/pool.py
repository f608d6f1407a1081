"""Processes of one program that share the samples of a batch.

A batch is cut into chunks of a fixed size, so what is asked does not depend on the number
of processes; each chunk goes to a process that is free. A process that raises, ends, says
something else than agreed, or takes longer than the timeout is killed with its children
and waited for, and the chunk is tried again on a new one.
"""

import contextlib
import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import LifoQueue
from typing import Any

import numpy as np

from gan_gradflow.workers.base import AnswerError, Worker, WorkerError, checked
from gan_gradflow.workers.protocols import Pipe, Protocol, ProtocolError


class WorkerPool(Worker):
    """An external program as a function of a batch: a simulator, or a critic's scores.

    Processes start with the first call, and end with `close`, with the pool, or, as their
    standard input does, with this process. A copy of a pool is the pool.

    Args:
        command: the program and its arguments.
        protocol: how samples and outputs are written.
        num_workers: processes at once.
        chunk_size: the most samples in one request.
        timeout: seconds that an answer may take, the start of the program included.
        retries: how often a request that failed is repeated.
        failures: the folder for the samples of a request that failed for good; None saves
            none.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(
        self,
        command: Sequence[str],
        protocol: Protocol,
        num_workers: int,
        chunk_size: int,
        timeout: float,
        retries: int,
        failures: str | None,
    ) -> None:
        super().__init__(retries, failures)
        if not command:
            raise ValueError("command is empty; give the program and its arguments")
        for name, value in (("num_workers", num_workers), ("chunk_size", chunk_size)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}; try 2")
        if not timeout > 0:
            raise ValueError(f"timeout must be positive, got {timeout}; try 60")
        self.command = list(command)
        self.protocol = protocol
        self.chunk_size = chunk_size
        self.timeout = timeout
        self.num_workers = num_workers
        # The newest first, so that no more processes start than are needed.
        self._free: LifoQueue[_Process] = LifoQueue()
        for _ in range(num_workers):
            self._free.put(_Process(self.command))
        self._end = weakref.finalize(self, _close_all, list(self._free.queue))

    def __deepcopy__(self, memo: dict[int, Any]) -> "WorkerPool":
        return self

    def __call__(self, samples: np.ndarray, seed: int | None = None) -> np.ndarray:
        """The program's outputs; each chunk has a seed of its own."""
        starts = range(0, max(1, len(samples)), self.chunk_size)
        chunks = [samples[start : start + self.chunk_size] for start in starts]
        seeds = [
            None if seed is None else _chunk_seed(seed, i) for i in range(len(chunks))
        ]
        with ThreadPoolExecutor(self.num_workers) as threads:
            outputs = list(threads.map(self._repeatedly, chunks, seeds))
        shapes = {tuple(output.shape[1:]) for output in outputs}
        if len(shapes) > 1:
            raise AnswerError(f"outputs have several shapes: {sorted(shapes)}")
        return np.concatenate(outputs)

    def close(self) -> None:
        """End the processes; the next call starts new ones."""
        for process in list(self._free.queue):
            process.stop()

    def _once(self, samples: np.ndarray, seed: int | None) -> np.ndarray:
        process = self._free.get()
        try:
            answer = process.ask(self.protocol, samples, seed, self.timeout)
            return checked(answer, len(samples))
        except AnswerError:
            process.stop()
            raise
        finally:
            self._free.put(process)


class _Process:
    """One process of the program, started when it is asked something."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._running: subprocess.Popen[bytes] | None = None
        self._log: Any = None

    def ask(
        self, protocol: Protocol, samples: np.ndarray, seed: int | None, timeout: float
    ) -> np.ndarray:
        running = self._running or self._start()
        assert running.stdin is not None
        assert running.stdout is not None
        late = threading.Event()

        def give_up() -> None:
            late.set()
            _kill(running)

        timer = threading.Timer(timeout, give_up)
        timer.start()
        try:
            _expect_silence(running.stdout, protocol.between)
            protocol.write(running.stdin, samples, seed)
            answer = protocol.read(running.stdout)
            _expect_silence(running.stdout, protocol.between)
            return answer
        except ProtocolError as error:
            self.stop()
            raise AnswerError(f"{self._command[0]}: {error}") from error
        except (EOFError, OSError) as error:
            raise AnswerError(self._obituary(late.is_set(), timeout)) from error
        finally:
            timer.cancel()

    def stop(self) -> None:
        """End the process and wait for it, so that no zombie is left."""
        running, self._running = self._running, None
        if running is None:
            return
        _kill(running)
        running.wait()
        stream: Any
        for stream in (running.stdin, running.stdout, self._log):
            with contextlib.suppress(OSError):
                stream.close()  # what was not flushed goes nowhere

    def _start(self) -> "subprocess.Popen[bytes]":
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            # A session of its own: Ctrl-C is ours to handle, and a kill reaches children.
            self._running = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                start_new_session=True,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )
        except OSError as error:
            self._log.close()
            raise WorkerError(
                f"command starts {self._command[0]}, which cannot be run from "
                f"{Path.cwd()} ({error.strerror}); give its whole path, make it "
                "executable (chmod +x), and let a script begin with #!"
            ) from error
        return self._running

    def _obituary(self, late: bool, timeout: float) -> str:
        running = self._running
        assert running is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(1)  # its pipe is closed: let it say its last words
        _kill(running)
        code = running.wait()
        self._log.seek(0)
        said = self._log.read().decode(errors="replace").strip().splitlines()
        self.stop()
        if late:
            return f"{self._command[0]} gave no answer within {timeout} s"
        how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        last = f"; its last words: {said[-1][:300]}" if said else ""
        return f"{self._command[0]} ended ({how}) before it answered{last}"


def _expect_silence(stream: Pipe, between: bytes) -> None:
    """Raise a ProtocolError if something can be read: it answers no request.

    Left in the pipe, it would be taken for the answer to the next one. What may stand
    `between` two answers is passed over.
    """
    assert isinstance(stream, io.BufferedReader)
    os.set_blocking(stream.fileno(), False)
    # What is buffered, or else what the pipe has by now.
    while (said := stream.peek(1)) and not said.strip(between):
        stream.read1(len(said))
    os.set_blocking(stream.fileno(), True)
    if said:
        shown = said[:80].decode(errors="replace")
        raise ProtocolError(
            f"it said {shown!r}, which answers no request; answer each request once, and "
            "print all else to standard error"
        )


def _kill(running: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)


def _close_all(processes: list[_Process]) -> None:
    for process in processes:
        process.stop()


def _chunk_seed(seed: int, chunk: int) -> int:
    return int(np.random.SeedSequence([seed, chunk]).generate_state(1)[0])
