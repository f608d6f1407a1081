"""How a batch and its answer cross a pair of pipes.

    json   a line {"samples": [[...], ...], "seed": 7}, answered by the line
           {"outputs": [...]}
    npy    the samples as a .npy array and, if there is a seed, the seed as another one of
           shape (); answered by one .npy array

One answer for each request, with nothing before or after it, but for empty lines around
JSON; `outputs` has one entry for each sample. Whoever answers reads requests until its
standard input ends, flushes after each answer, and says all else on standard error.
"""

import io
import json
from abc import ABC, abstractmethod
from types import SimpleNamespace
from typing import IO, Any, TypeAlias

import numpy as np

Pipe: TypeAlias = IO[bytes]


class ProtocolError(RuntimeError):
    """What came over a pipe is not what was agreed."""


class Protocol(ABC):
    """Writes requests and reads answers.

    Attributes:
        between: bytes that may stand between two answers and mean nothing.
    """

    between: bytes

    @abstractmethod
    def write(self, stream: Pipe, samples: np.ndarray, seed: int | None) -> None:
        """Send one request."""

    @abstractmethod
    def read(self, stream: Pipe) -> np.ndarray:
        """Wait for one answer.

        Raises:
            EOFError: the other side is gone.
            ProtocolError: it is none.
        """


class JSONLines(Protocol):
    """Lines of JSON, for programs in any language. Numbers are written in full."""

    between = b" \t\r\n"

    def write(self, stream: Pipe, samples: np.ndarray, seed: int | None) -> None:
        """One line."""
        request = {"samples": samples.tolist()}
        if seed is not None:
            request["seed"] = seed
        stream.write(json.dumps(request).encode() + b"\n")
        stream.flush()

    def read(self, stream: Pipe) -> np.ndarray:
        """One line that is not empty."""
        line = b"\n"
        while line.isspace():
            line = stream.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        try:
            return np.asarray(json.loads(line)["outputs"], dtype=np.float64)
        except (ValueError, TypeError, KeyError) as error:
            shown = line[:80].decode(errors="replace").strip()
            raise ProtocolError(
                f'it answered {shown!r}, which is not {{"outputs": [...]}}'
            ) from error


class NPYArrays(Protocol):
    """Arrays as NumPy saves them: to the last bit, and fast for large ones."""

    between = b""

    def write(self, stream: Pipe, samples: np.ndarray, seed: int | None) -> None:
        """One array, or two."""
        write_array(stream, samples)
        if seed is not None:
            write_array(stream, np.asarray(seed))
        stream.flush()

    def read(self, stream: Pipe) -> np.ndarray:
        """One array."""
        return read_array(stream)


def write_array(stream: Pipe, array: np.ndarray) -> None:
    """One .npy array."""
    buffer = io.BytesIO()  # NumPy wants to know a file's position, and a pipe has none
    np.save(buffer, array, allow_pickle=False)
    stream.write(buffer.getbuffer())


def read_array(stream: Pipe) -> np.ndarray:
    """One .npy array, from a stream that cannot go back.

    Raises:
        EOFError: the stream ends before it or within it.
        ProtocolError: it is not an array.
    """
    try:
        source: Any = SimpleNamespace(read=stream.read)
        return np.lib.format.read_array(source, allow_pickle=False)
    except ValueError as error:
        if "EOF" in str(error):
            raise EOFError from error
        raise ProtocolError(f"it did not answer with a .npy array: {error}") from error
