"""A Python function of a batch, called in this process."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gan_gradflow.workers.base import AnswerError, Worker


class InProcess(Worker):
    """The fastest way to call a function that can be trusted to come back.

    What hangs here hangs the run, and what ends the process ends it: choose
    `workers=python` for such functions.

    Args:
        function: maps samples `[n, ...]`, and a seed if it is given one, to `[n, ...]`.
        retries: how often a call that failed is repeated.
        failures: the folder for the samples of a call that failed for good; None saves
            none.
    """

    def __init__(
        self, function: Callable[..., Any], retries: int, failures: str | None
    ) -> None:
        super().__init__(retries, failures)
        self.function = function

    def __call__(self, samples: np.ndarray, seed: int | None = None) -> np.ndarray:
        """The function's outputs."""
        return self._repeatedly(samples, seed)

    def _once(self, samples: np.ndarray, seed: int | None) -> np.ndarray:
        try:
            # A copy: the function may write to what it is given.
            arguments = (samples.copy(),) if seed is None else (samples.copy(), seed)
            return np.asarray(self.function(*arguments))
        except Exception as error:
            raise AnswerError(f"it raised {type(error).__name__}: {error}") from error
