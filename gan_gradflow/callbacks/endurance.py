"""Going on without a file that the disk does not take."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


class Endurance:
    """Lets a run outlive a full disk, a folder that was deleted or may not be written.

    Says so once, and once more when it fails again after it had worked in between.

    Args:
        what: what is written, in words.

    Attributes:
        failing: the last attempt failed.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.failing = False

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Inside, an error of the operating system ends the attempt and nothing else."""
        try:
            yield
        except OSError as error:
            if not self.failing:
                self.failing = True
                log.warning(
                    "%s could not be written (%s: %s); training goes on without",
                    self.what,
                    error.strerror or error,
                    error.filename or "the run folder",
                )
        else:
            self.failing = False
