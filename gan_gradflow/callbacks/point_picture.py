"""Samples that are no images, as a histogram or as points in the plane, with axes."""

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

FAKES, REALS = "tab:orange", "tab:blue"
_MARGIN = 0.2  # of the frame's width, to each side
_BINS = 40


def point_picture(
    samples: Float[Tensor, "n dim"],
    reals: Float[Tensor, "m dim"] | None,
    name: str = "fakes",
) -> Float[Tensor, "3 height width"]:
    """A picture in [0, 1] of numbers, or of the first two elements of vectors.

    Args:
        samples: what is drawn; how many of them are outside of the frame is said.
        reals: drawn beside them; several set the frame, a single one is the truth. The
            frame holds all that is drawn where there are no several reals.
        name: what the samples are called.
    """
    canvas = FigureCanvasAgg(Figure((3.2, 3.2), dpi=100, layout="constrained"))
    axes = canvas.figure.subplots()
    low, high = _frame(samples, reals)
    if reals is not None:
        _draw(axes, reals, "reals" if len(reals) > 1 else "truth", REALS, low, high)
    inside = ((samples >= low) & (samples <= high))[:, :2].all(1)
    outside = len(samples) - int(inside.sum())
    words = f" ({outside:,} of {len(samples):,} outside)" if outside else ""
    color = FAKES if name == "fakes" else REALS
    _draw(axes, samples[inside], name + words, color, low, high)
    axes.set_xlim(float(low[0]), float(high[0]))
    if samples.shape[1] > 1:
        axes.set_ylim(float(low[1]), float(high[1]))
    if samples.shape[1] > 2:
        axes.set_xlabel(f"first of {samples.shape[1]} elements", fontsize=8)
        axes.set_ylabel("second", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.locator_params(nbins=5)
    canvas.figure.legend(
        loc="outside upper center", ncols=2, frameon=False, fontsize=8, markerscale=3
    )
    canvas.draw()
    pixels = torch.frombuffer(bytearray(canvas.buffer_rgba()), dtype=torch.uint8)
    width, height = canvas.get_width_height()
    return pixels.view(height, width, 4)[:, :, :3].permute(2, 0, 1).float() / 255


def _frame(
    samples: Float[Tensor, "n dim"], reals: Float[Tensor, "m dim"] | None
) -> tuple[Float[Tensor, " dim"], Float[Tensor, " dim"]]:
    held = samples if reals is None else torch.cat([samples, reals])
    if reals is not None and len(reals) > 1:
        held = reals
    held = held[held.isfinite().all(1)]
    if not len(held):
        held = samples.new_zeros(1, samples.shape[1])
    low, high = held.amin(0), held.amax(0)
    width = torch.where(high > low, high - low, 1)
    return low - _MARGIN * width, high + _MARGIN * width


def _draw(
    axes: Axes,
    points: Float[Tensor, "n dim"],
    label: str,
    color: str,
    low: Float[Tensor, " dim"],
    high: Float[Tensor, " dim"],
) -> None:
    if points.shape[1] > 1:
        size = 40 if label == "truth" else 3
        axes.scatter(points[:, 0], points[:, 1], s=size, color=color, label=label)
    elif label == "truth":
        axes.axvline(float(points), color=color, label=label)
    else:
        share = torch.full((len(points),), 1 / max(1, len(points)))
        edges = torch.linspace(float(low), float(high), _BINS + 1).tolist()
        axes.hist(
            points[:, 0], edges, weights=share, alpha=0.6, color=color, label=label
        )
        axes.set_ylabel("share", fontsize=8)
