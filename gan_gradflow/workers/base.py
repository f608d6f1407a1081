"""What is asked of a function of a batch that may fail, and what is done when it does.

A call maps samples `[n, ...]`, and a seed where chance is involved, to finite numbers
`[n, ...]`. A call that fails is repeated with the same samples and the same seed, a limited
number of times; then they are saved, and the error names the file. What cannot be started
at all is not repeated.
"""

import contextlib
import itertools
import math
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np


class AnswerError(RuntimeError):
    """One call failed, or its answer cannot be used."""


class WorkerError(RuntimeError):
    """A function failed on the same samples as often as is allowed."""


class Worker(ABC):
    """A function of a batch, with its retries.

    Args:
        retries: how often a call that failed is repeated.
        failures: the folder in which the samples of a call that failed for good are saved;
            None saves none.

    Raises:
        ValueError: `retries` is negative.
    """

    def __init__(self, retries: int, failures: str | None) -> None:
        if retries < 0:
            raise ValueError(f"retries must not be negative, got {retries}; try 2")
        self.retries = retries
        self.failures = None if failures is None else Path(failures)

    @abstractmethod
    def __call__(self, samples: np.ndarray, seed: int | None = None) -> np.ndarray:
        """The outputs for the samples, in their order.

        Raises:
            WorkerError: a call failed for good.
        """

    @abstractmethod
    def _once(self, samples: np.ndarray, seed: int | None) -> np.ndarray:
        """One attempt.

        Raises:
            AnswerError: it failed.
            WorkerError: it would fail again.
        """

    def _repeatedly(self, samples: np.ndarray, seed: int | None) -> np.ndarray:
        for attempt in range(self.retries + 1):
            try:
                return checked(self._once(samples, seed), len(samples))
            except AnswerError as error:
                if attempt == self.retries:
                    raise WorkerError(
                        f"{error} ({attempt + 1} attempts on the same {len(samples)} "
                        f"samples{self._saved(samples, seed)})"
                    ) from error
        raise AssertionError("unreachable")

    def _saved(self, samples: np.ndarray, seed: int | None) -> str:
        """Save the samples; where, in words."""
        if self.failures is None:
            return ""
        self.failures.mkdir(parents=True, exist_ok=True)
        contents = {"samples": samples}
        if seed is not None:
            contents["seed"] = np.array(seed)
        for number in itertools.count():
            path = self.failures / f"failed_{number}.npz"
            with contextlib.suppress(FileExistsError), path.open("xb") as file:
                np.savez(file, allow_pickle=False, **contents)
                return f", which are saved in {path}"
        raise AssertionError("unreachable")


def checked(outputs: np.ndarray, count: int) -> np.ndarray:
    """The outputs, if there is one for each sample and all are finite numbers.

    Raises:
        AnswerError: otherwise.
    """
    if outputs.ndim == 0 or len(outputs) != count:
        raise AnswerError(
            f"{count} samples were answered with an array of shape "
            f"{list(outputs.shape)}; there must be one output for each"
        )
    if not np.issubdtype(outputs.dtype, np.number):
        raise AnswerError(f"the outputs are {outputs.dtype}, not numbers")
    size = math.prod(outputs.shape[1:])
    bad = int((~np.isfinite(outputs.reshape(count, size)).all(1)).sum())
    if bad:
        raise AnswerError(f"{bad} of {count} outputs are NaN or infinite")
    return outputs
