"""The plots of the audit's page."""

import io
import math
from collections.abc import Sequence
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator, NullFormatter

from gan_gradflow.audit.fidelity import Curve, cosine_in_theory
from gan_gradflow.audit.players import PLAYERS, owner
from gan_gradflow.audit.report import Cell, Table

_MARKS = "osD^vP*X<>h"
_COLOURS = {"discriminator": "#b45309", "generator": "#1d4ed8"}


def fidelity_plot(curves: Sequence[Curve]) -> Canvas:
    """Measured figures against queries, with those of theory as dashed lines."""
    canvas = Canvas(figsize=(10, 7.4), layout="constrained")
    axes = canvas.subplots(2, 2)
    drawn = [curve for curve in curves if curve.points]
    for number, curve in enumerate(drawn):
        style = {**_look(number), "label": curve.bridge}
        _draw_curve(list(axes.flat), curve, style)
    titles = (
        "cosine of the pull on a sample with the true one",
        "cosine of the generator's gradient with the true one",
        "scale of the pull: 1 is right to the constant",
        "squared bias of the pull, as a share of the squared gradient",
    )
    for axis, title in zip(axes.flat, titles, strict=True):
        axis.set_title(title, fontsize=10)
        axis.set_xscale("log", base=2)
        axis.set_xlabel("queries per sample", fontsize=9)
        axis.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
        axis.grid(alpha=0.25)
    for axis in axes[0]:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
        axis.set_ylim(top=1.25)
    axes[1, 0].axhline(1, color="grey", linewidth=1)
    axes[1, 1].axhline(0, color="grey", linewidth=1)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    if handles:
        canvas.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=5,
            frameon=False,
            fontsize=9,
        )
    return canvas


def _look(number: int) -> dict[str, Any]:
    """Dark and hollow for the first ten curves, light and filled for the next ten."""
    again = number // 10 % 2
    return {
        "color": colormaps["tab20"](2 * (number % 10) + again),
        "marker": _MARKS[number % len(_MARKS)],
        "markersize": max(9 - 0.5 * number, 5),
        "fillstyle": "full" if again else "none",
    }


def _draw_curve(axes: Sequence[Axes], curve: Curve, style: dict[str, Any]) -> None:
    queries = [point.measured.queries_per_sample for point in curve.points]
    pulls = [point.measured.pull for point in curve.points]
    ends = [p.measured.parameters for p in curve.points if p.measured.parameters]
    for axis, figures in (
        (axes[0], [pull.cosine for pull in pulls]),
        (axes[1], [end.cosine for end in ends]),
        (axes[2], [pull.scale for pull in pulls]),
        (axes[3], [pull.squared_bias for pull in pulls]),
    ):
        values, errors = zip(*figures, strict=True)
        shown = [0 if math.isnan(error) else error for error in errors]
        axis.errorbar(queries, values, shown, linewidth=1.2, capsize=2, **style)
    for axis, variances in (
        (axes[0], [_of(point.variance) for point in curve.points]),
        (axes[1], [_of(point.parameter_variance) for point in curve.points]),
    ):
        expected = [cosine_in_theory(variance) for variance in variances]
        axis.plot(queries, expected, "--", color=style["color"], linewidth=1)


def _of(variance: float | None) -> float:
    return math.nan if variance is None else variance


def direction_plot(table: Table) -> Canvas:
    """The change of each player's loss along its update, predicted and measured."""
    canvas = Canvas(figsize=(10, 2.2), layout="constrained")
    axes = canvas.subplots(1, len(PLAYERS))
    for axis, row in zip(axes, table.rows, strict=False):
        named = dict(zip(table.columns, row, strict=True))
        noisy = " by\nan estimate" if named["gradient"] == "from scores" else ""
        predicted, measured = named["predicted change"], named["measured"]
        bars = {f"predicted{noisy}": predicted, "measured": measured}
        known = {name: bar for name, bar in bars.items() if isinstance(bar, float)}
        axis.barh(list(known), list(known.values()), color=_COLOURS[str(row[0])])
        axis.set_title(f"{row[0]}: change of its loss along its update", fontsize=10)
        axis.axvline(0, color="grey", linewidth=1)
        axis.invert_yaxis()
        axis.xaxis.set_major_locator(MaxNLocator(5))
    return canvas


def health_plot(table: Table) -> Canvas:
    """Gradients, updates and rounding errors, layer by layer, on logarithmic axes."""
    panels = {
        "norm of the gradient": ("gradient used",),
        "update / weights": ("update / weights",),
        "error against float64 (filled), in bf16 (hollow)": (
            "error against float64",
            "in bf16",
        ),
    }
    canvas = Canvas(figsize=(10, 1 + 0.26 * len(table.rows)), layout="constrained")
    axes = canvas.subplots(1, len(panels), sharey=True)
    names = [str(row[0]) for row in table.rows]
    colours = [_COLOURS[owner(name)] for name in names]
    for axis, (title, columns) in zip(axes, panels.items(), strict=True):
        for column, style in zip(columns, ("full", "none"), strict=False):
            sizes = [_size(row[table.columns.index(column)]) for row in table.rows]
            for height, (size, colour) in enumerate(zip(sizes, colours, strict=True)):
                axis.plot(size, height, "o", color=colour, fillstyle=style)
        axis.set_xscale("log")
        _widen(axis)
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_title(title, fontsize=9)
        axis.grid(alpha=0.25)
    axes[0].set_yticks(range(len(names)), names, fontsize=8)
    axes[0].invert_yaxis()
    return canvas


def _widen(axis: Axes) -> None:
    """Let a logarithmic axis hold two powers of ten, which are all that has a label."""
    low, high = axis.get_xlim()
    if math.floor(math.log10(high)) <= math.ceil(math.log10(low)):
        low = min(low, 10 ** math.floor(math.log10(low)))
        high = max(high, 10 ** math.ceil(math.log10(high)))
    axis.set_xlim(low, high)


def _size(cell: Cell) -> float:
    """A positive number; what is not one has no place on a logarithmic axis."""
    return float(cell) if isinstance(cell, (int, float)) and cell > 0 else math.nan


def svg(canvas: Canvas) -> str:
    """A plot as text that a page can hold."""
    written = io.StringIO()
    canvas.savefig(written, format="svg", metadata={"Date": None})
    return written.getvalue()
