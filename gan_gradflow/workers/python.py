"""A Python function of a batch, in processes of its own: `python -m` this module serves it.

What the function prints goes to standard error, for standard output is the answer's.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from gan_gradflow.workers.pool import WorkerPool
from gan_gradflow.workers.protocols import NPYArrays, read_array, write_array


class PythonPool(WorkerPool):
    """For functions that are slow, hang or crash: they can be killed without harm.

    Args:
        function: where to find it, such as `my_package.physics.simulate`; it maps samples
            `[n, ...]`, and a seed if `seeded`, to `[n, ...]`.
        arguments: further arguments by name, of plain data, or None; a class is built
            with them, and its instance called.
        seeded: whether it takes a seed.
        num_workers: processes at once.
        chunk_size: the most samples in one call.
        timeout: seconds that a call may take, the imports of the first one included.
        retries: how often a call that failed is repeated.
        failures: the folder for the samples of a call that failed for good; None saves
            none.

    Raises:
        ValueError: the function cannot be found, or a number is out of range.
    """

    def __init__(
        self,
        function: str,
        arguments: dict[str, Any] | None,
        seeded: bool,
        num_workers: int,
        chunk_size: int,
        timeout: float,
        retries: int,
        failures: str | None,
    ) -> None:
        found(function)
        served = json.dumps([function, arguments or {}, seeded])
        super().__init__(
            [sys.executable, "-m", __name__, served],
            NPYArrays(),
            num_workers,
            chunk_size,
            timeout,
            retries,
            failures,
        )


def found(path: str) -> Callable[..., Any]:
    """The function or class at a dotted path.

    Raises:
        ValueError: there is none.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"function: cannot find {path!r} ({error}); give package.module.function"
        ) from error


def serve(path: str, arguments: dict[str, Any], seeded: bool) -> None:
    """Answer requests on standard input until it ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    function = found(path)
    if isinstance(function, type):
        function, arguments = function(**arguments), {}
    requests = open(0, "rb", closefd=False)  # noqa: SIM115
    while requests.peek(1):
        given: list[Any] = [read_array(requests)]
        if seeded:
            given.append(int(read_array(requests)))
        write_array(answers, np.asarray(function(*given, **arguments)))
        answers.flush()


if __name__ == "__main__":
    serve(*json.loads(sys.argv[1]))
