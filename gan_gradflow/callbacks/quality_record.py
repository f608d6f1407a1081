"""A run's quality as it learns: one line of JSON for each measurement.

    {"iteration": 500, "queries": 32000, "seconds": 41.2, "cpu_seconds": 40.8, "figures":
    {"frechet_distance": 210.3}}

Queries are those of the critic since the run began; seconds are those of training alone,
without the measuring, and add up over the parts of a run that was resumed.
"""

import json
from pathlib import Path
from typing import NamedTuple


class QualityPoint(NamedTuple):
    """What a generator was worth after so many iterations, queries and seconds."""

    iteration: int
    queries: int
    seconds: float
    cpu_seconds: float
    figures: dict[str, float]


class QualityRecord:
    """The file of a run's measurements, which holds each iteration once.

    Args:
        path: the file; its folder is made if it is not there.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def begin(self, iteration: int) -> None:
        """Go on from an iteration: what was measured after it will be measured anew."""
        if self.path.exists():
            kept = [point for point in self.read() if point.iteration <= iteration]
            partial = self.path.with_suffix(".partial")
            partial.write_text("".join(_line(point) for point in kept))
            partial.replace(self.path)

    def append(self, point: QualityPoint) -> None:
        """Add a measurement."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(_line(point))

    def read(self) -> list[QualityPoint]:
        """All measurements; none where there is no file.

        A last line that was cut off in the writing is left out.
        """
        if not self.path.exists():
            return []
        *lines, _cut_off = self.path.read_text().split("\n")
        return [QualityPoint(**json.loads(line)) for line in lines]


def _line(point: QualityPoint) -> str:
    return json.dumps(point._asdict()) + "\n"
