"""Runs side by side: by label, with the mean and its standard error over the seeds.

With n runs of a label and their sample deviation s, the standard error is s / sqrt(n); one
run has none.
"""

import statistics
from typing import Any, NamedTuple

from gan_gradflow.callbacks.quality_record import QualityPoint
from gan_gradflow.datamodules.identity import data_identity, difference
from gan_gradflow.reports.runs import ReportError, Run, differing, settings

_FEW_KEYS = 3  # of one part, that are told with their values


class Mean(NamedTuple):
    """The mean over runs, and its standard error where there are several."""

    value: float
    error: float | None

    def __str__(self) -> str:
        if self.error is None:
            return f"{self.value:.4g}"
        return f"{self.value:.4g} ± {self.error:.2g}"


class Comparison:
    """Runs on the same data, measured alike.

    Args:
        runs: in the order in which their labels are reported.

    Raises:
        ReportError: no runs, or runs whose data or measures differ.
    """

    def __init__(self, runs: list[Run]) -> None:
        if not runs:
            raise ReportError("there is no finished run to report on")
        first = runs[0]
        for run in runs[1:]:
            require_comparable(
                str(first.folder), first.config, str(run.folder), run.config
            )
        self.runs = runs
        self.primary: str | None = runs[0].summary["primary"]
        self.labels = list(dict.fromkeys(run.label for run in runs))

    def of(self, label: str) -> list[Run]:
        """The runs of a label."""
        return [run for run in self.runs if run.label == label]

    def differences(self) -> dict[str, str]:
        """What else than the bridge differs between labels, and is not said by them.

        Returns:
            The values in the order of the labels, by part of the configuration.
        """
        kinds = [settings(self.of(label)[0].config) for label in self.labels]
        parts: dict[str, list[str]] = {}
        for key in differing(kinds):
            part = key.split(".")[0]
            if part != "bridge" and not self._is_said(key):
                parts.setdefault(part, []).append(key)
        return {part: _values(part, keys, kinds) for part, keys in parts.items()}

    def _is_said(self, key: str) -> bool:
        words = "queries" if key == "critic.budget" else f"{key}="
        return any(words in label for label in self.labels)

    def figures(self) -> list[str]:
        """The names of the figures of quality, the main one first."""
        names = list(
            dict.fromkeys(n for run in self.runs for n in run.summary["quality"])
        )
        return sorted(names, key=lambda name: name != self.primary)

    def floor(self, figure: str) -> float | None:
        """What reals score against reals: the mean over the runs."""
        found = [r.summary["floor"][figure] for r in self.runs if r.summary["floor"]]
        return statistics.mean(found) if found else None

    def final(self, label: str, figure: str) -> Mean | None:
        """A figure at the end of a label's runs."""
        values = [run.summary["quality"].get(figure) for run in self.of(label)]
        return mean_of([value for value in values if value is not None])

    def spent(self, label: str, what: str) -> Mean | None:
        """Iterations, queries, seconds or CPU seconds of a label's runs, where known."""
        amounts = [_spent(run)[what] for run in self.of(label)]
        return mean_of([float(amount) for amount in amounts if amount is not None])

    def fidelity(self, label: str) -> dict[str, Mean]:
        """What was measured of the gradient's fidelity, in the second half of the runs."""
        runs = self.of(label)
        names = dict.fromkeys(name for run in runs for name in run.fidelity)
        found = {
            n: mean_of([r.fidelity[n] for r in runs if n in r.fidelity]) for n in names
        }
        return {name: mean for name, mean in found.items() if mean is not None}

    def curve(self, label: str, figure: str) -> list[tuple[QualityPoint, Mean]]:
        """A figure over the iterations that all of a label's runs were measured at.

        The point holds the means of what had been spent until then.
        """
        by_iteration = [{p.iteration: p for p in run.points} for run in self.of(label)]
        common = set(by_iteration[0]).intersection(*by_iteration[1:])
        curve = []
        for iteration in sorted(common):
            points = [of_run[iteration] for of_run in by_iteration]
            found = mean_of([p.figures[figure] for p in points if figure in p.figures])
            if found is not None:
                curve.append((_average(points), found))
        return curve


def _values(part: str, keys: list[str], kinds: list[dict[str, Any]]) -> str:
    """What each label has there: its class, where that differs, or the first few keys."""
    target = f"{part}._target_"
    told = []
    for key in [target] if target in keys else keys[:_FEW_KEYS]:
        name = "" if key in (part, target) else f"{key.removeprefix(f'{part}.')} "
        values = [str(kind.get(key, "none")) for kind in kinds]
        if key.endswith("_target_"):
            values = [value.split(".")[-1] for value in values]
        told.append(name + ", ".join(values))
    more = len(keys) > _FEW_KEYS and target not in keys
    return "; ".join(told) + ("; ..." if more else "")


def mean_of(values: list[float]) -> Mean | None:
    """The mean of values and its standard error; None without values."""
    if not values:
        return None
    if len(values) == 1:
        return Mean(values[0], None)
    error = statistics.stdev(values) / len(values) ** 0.5
    return Mean(statistics.mean(values), error)


def _spent(run: Run) -> dict[str, Any]:
    """What a run took; without a record of it, the summary counts, but has no clock."""
    if run.points:
        return run.points[-1]._asdict()
    counted = {
        "iteration": run.summary["iterations"],
        "queries": run.summary["queries"],
    }
    return {**counted, "seconds": None, "cpu_seconds": None}


def _average(points: list[QualityPoint]) -> QualityPoint:
    return QualityPoint(
        points[0].iteration,
        round(statistics.mean(p.queries for p in points)),
        statistics.mean(p.seconds for p in points),
        statistics.mean(p.cpu_seconds for p in points),
        {},
    )


def require_comparable(
    first: str, first_config: dict[str, Any], other: str, other_config: dict[str, Any]
) -> None:
    """Raise a ReportError unless two runs are on the same data and measured alike.

    Args:
        first: what to call the one.
        first_config: its configuration.
        other: what to call the other.
        other_config: its configuration.
    """
    configs = (first_config, other_config)
    data = difference(*(data_identity(config["data"]) for config in configs))
    if data:
        raise ReportError(
            f"{first} and {other} are on different data ({data}): their figures do not "
            "compare"
        )
    measured = difference(*(config["metrics"] for config in configs))
    if measured:
        raise ReportError(
            f"{first} and {other} are measured differently ({measured}): their figures do "
            "not compare"
        )
