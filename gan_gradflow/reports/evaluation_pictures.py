"""What an evaluation looks like: copies, if there are any, and distributions."""

from pathlib import Path

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from gan_gradflow.callbacks.point_picture import FAKES, REALS
from gan_gradflow.callbacks.sample_grid import in_colours
from gan_gradflow.metrics.base import Reals
from gan_gradflow.metrics.evaluation import Evaluation

_PAIRS = 10


def draw_nearest(
    path: Path, fakes: Float[Tensor, "n *event"], data: Reals, found: Evaluation
) -> Path:
    """Fakes above their nearest training samples: the nearest of all, and the first ones.

    Args:
        path: the PNG file.
        fakes: images, or points in the plane, which are drawn among the reals.
        data: holds the training samples.
        found: the evaluation of these fakes.
    """
    if fakes.ndim != 4:
        return _draw_points(path, fakes, data)
    count = min(_PAIRS, len(fakes))
    rows = [
        ("nearest of all", found.distances.argsort()[:count]),
        ("at random", torch.arange(count)),
    ]
    figure = Figure((count, 5), layout="constrained")
    panels = figure.subplots(4, count, squeeze=False)
    for first, (name, picked) in enumerate(rows):
        neighbours = data.train_floats(found.neighbours[picked])
        for column, place in enumerate(picked):
            upper, lower = panels[2 * first : 2 * first + 2, column]
            _show(upper, fakes[place])
            _show(lower, neighbours[column])
            upper.set_title(f"{found.distances[place]:.3g}", fontsize=8)
        panels[2 * first, 0].set_ylabel(f"fakes,\n{name}", fontsize=8)
        panels[2 * first + 1, 0].set_ylabel("nearest in\ntraining", fontsize=8)
    figure.savefig(path, dpi=120)
    return path


def draw_distributions(path: Path, found: Evaluation) -> Path:
    """Distances to the training set and shares of classes, of fakes beside reals."""
    panels = 1 if found.shares is None else 2
    figure = Figure((5 * panels, 3.2), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    edges = _edges(torch.cat([found.distances, found.real_distances]))
    for values, name, color in (
        (found.real_distances, "held-out reals", REALS),
        (found.distances, "fakes", FAKES),
    ):
        share = torch.full((len(values),), 1 / len(values))
        values = values.double().clamp(min=edges[0])
        axes[0].hist(values, edges, weights=share, alpha=0.6, color=color, label=name)
    axes[0].set_xscale("log")
    axes[0].set_xlabel("distance to the nearest training sample, in features")
    axes[0].set_ylabel("share")
    axes[0].legend(frameon=False)
    if found.shares is not None and found.real_shares is not None:
        reals, fakes = found.real_shares.numpy(), found.shares.numpy()
        places = torch.arange(len(fakes)).numpy()
        axes[1].bar(places - 0.2, reals, 0.4, color=REALS, label="reals")
        axes[1].bar(places + 0.2, fakes, 0.4, color=FAKES, label="fakes")
        axes[1].set_xticks(places)
        axes[1].set_xlabel("class, as the classifier sees it")
        axes[1].set_ylabel("share")
        axes[1].legend(frameon=False)
    figure.savefig(path, dpi=120)
    return path


def _edges(distances: Float[Tensor, " n"]) -> Float[Tensor, " edges"]:
    """Those of bins even in the logarithm; the first is the least distance above 0."""
    positive = distances[distances > 0].double()
    if not len(positive):
        positive = torch.tensor([1e-9], dtype=torch.float64)
    least, most = positive.min(), positive.max()
    edges = torch.logspace(
        least.log10().item(), most.log10().item() + 1e-3, 60, dtype=torch.float64
    )
    edges[0] = least  # and not what the rounding of its logarithm makes of it
    return edges


def _draw_points(path: Path, fakes: Float[Tensor, "n *event"], data: Reals) -> Path:
    figure = Figure((5, 5), layout="constrained")
    axes = figure.subplots()
    reals = data.held_out_floats(slice(len(fakes))).flatten(1)
    for points, name, color in (
        (reals, "held-out reals", REALS),
        (fakes.flatten(1), "fakes", FAKES),
    ):
        axes.scatter(
            points[:, 0], points[:, -1], s=3, color=color, label=name, alpha=0.5
        )
    axes.set_aspect("equal", "datalim")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
    return path


def _show(axes: Axes, image: Float[Tensor, "channels height width"]) -> None:
    pixels = (in_colours(image[None])[0].clamp(-1, 1) + 1) / 2
    shown = pixels.permute(1, 2, 0).squeeze(-1).numpy()
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])
