"""A comparison as curves, and as samples side by side."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from PIL import Image

from gan_gradflow.reports.comparison import Comparison

_COLUMNS = 4
_AXES = {
    "iteration": "iterations",
    "queries": "critic queries",
    "seconds": "seconds of training",
}


def draw_curves(path: Path, comparison: Comparison, figure: str) -> Path:
    """A figure against iterations, queries and seconds, one line for each label.

    Bands are a standard error over the seeds to each side, dots single runs.
    """
    drawing = Figure((12, 4), layout="constrained")
    panels = list(drawing.subplots(1, len(_AXES), sharey=True))
    for axes, (unit, words) in zip(panels, _AXES.items(), strict=True):
        for place, label in enumerate(comparison.labels):
            _draw_label(axes, comparison, label, figure, unit, f"C{place}")
        axes.set_xlabel(words)
        axes.grid(alpha=0.3)
    panels[1].set_xscale("log")
    panels[1].xaxis.set_minor_formatter(NullFormatter())
    if spans_much(comparison, figure):
        panels[0].set_yscale("log")
    floor = comparison.floor(figure)
    if floor is not None:
        _draw_floor(panels, floor)
    panels[0].set_ylabel(figure.replace("_", " "))
    handles, labels = panels[0].get_legend_handles_labels()
    drawing.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=min(len(labels), 4),
        frameon=False,
    )
    drawing.savefig(path, dpi=110)
    return path


def draw_samples(path: Path, comparison: Comparison) -> Path | None:
    """The last grid of samples of each label's first run, after one of reals.

    Returns:
        The PNG file; None where no run drew samples.
    """
    reals = comparison.runs[0].folder / "samples" / "reals.png"
    pictures: dict[str, Path | None] = {"reals": reals}
    for label in comparison.labels:
        folder = comparison.of(label)[0].folder / "samples"
        pictures[label] = max(folder.glob("iteration_*_averaged.png"), default=None)
    found = {name: file for name, file in pictures.items() if file and file.exists()}
    if not set(found) - {"reals"}:
        return None
    columns = min(_COLUMNS, len(found))
    rows = -(-len(found) // columns)
    drawing = Figure((3 * columns, 3.3 * rows), layout="constrained")
    panels = drawing.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.axis("off")
    for axes, (name, file) in zip(panels, found.items(), strict=False):
        with Image.open(file) as image:
            axes.imshow(image.convert("RGB"))
        axes.set_title(name, fontsize=10)
    drawing.savefig(path, dpi=150)
    return path


def spans_much(comparison: Comparison, figure: str) -> bool:
    """Whether a positive figure is more than three times as large at times; no share is."""
    values = [
        point.figures[figure]
        for run in comparison.runs
        for point in run.points
        if figure in point.figures
    ]
    return min(values, default=0) > 0 and max(values) > max(1, 3 * min(values))


def _draw_floor(panels: Sequence[Axes], floor: float) -> None:
    """A line, unless the axis would have to grow by half: curves, not it, set the axis."""
    low, high = panels[0].get_ylim()
    height = panels[0].transLimits.transform(
        panels[0].transScale.transform((1, floor))
    )[1]
    near = -0.5 < height < 1.5
    words = f"reals against reals: {floor:.4g}" + ("" if near else " (off the axis)")
    for axes in panels:
        axes.axhline(floor, color="0.5", linestyle=":", label=words)
    if not near:
        panels[0].set_ylim(low, high)


def _draw_label(
    axes: Axes, comparison: Comparison, label: str, figure: str, unit: str, color: str
) -> None:
    curve = comparison.curve(label, figure)
    if not curve:
        return
    places = [float(getattr(point, unit)) for point, _ in curve]
    means = [mean.value for _, mean in curve]
    errors = [mean.error or 0.0 for _, mean in curve]
    axes.plot(places, means, color=color, marker="o", markersize=3, label=label)
    low = [m - e for m, e in zip(means, errors, strict=True)]
    high = [m + e for m, e in zip(means, errors, strict=True)]
    axes.fill_between(places, low, high, color=color, alpha=0.2, linewidth=0)
    if len(comparison.of(label)) > 1:
        for run in comparison.of(label):
            spots = [p for p in run.points if figure in p.figures]
            xs = [float(getattr(p, unit)) for p in spots]
            ys = [p.figures[figure] for p in spots]
            axes.plot(xs, ys, ".", color=color, markersize=2, alpha=0.6)
