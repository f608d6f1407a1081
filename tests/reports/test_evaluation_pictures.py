"""Every distance has its bar, and every image its picture."""

from types import SimpleNamespace

import pytest
import torch
from matplotlib.axes import Axes
from PIL import Image

from gan_gradflow.metrics.evaluation import Evaluation
from gan_gradflow.reports.evaluation_pictures import draw_distributions, draw_nearest


def found(fakes, reals) -> Evaluation:
    return Evaluation({}, {}, {}, fakes, torch.zeros(len(fakes)), reals, None, None)


@pytest.fixture
def shares(monkeypatch) -> list[float]:
    """The sum of the bars of each histogram that is drawn."""
    heights, hist = [], Axes.hist

    def spied(*arguments, **settings):
        drawn = hist(*arguments, **settings)
        heights.append(float(drawn[0].sum()))
        return drawn

    monkeypatch.setattr(Axes, "hist", spied)
    return heights


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_copies_are_drawn_whatever_the_least_distance_rounds_to(
    tmp_path, shares, dtype
) -> None:
    for _ in range(10):
        reals = 5 * torch.rand(50, dtype=dtype) + 1
        fakes = torch.cat([torch.zeros(25, dtype=dtype), reals[:25]])
        draw_distributions(tmp_path / "x.png", found(fakes, reals))
    assert shares == pytest.approx([1.0] * 20)


def test_nothing_but_copies_is_drawn(tmp_path, shares) -> None:
    draw_distributions(tmp_path / "x.png", found(torch.zeros(5), torch.zeros(5)))
    assert shares == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_images_are_drawn_above_their_neighbours(tmp_path, channels) -> None:
    images = torch.rand(12, channels, 8, 8) * 2 - 1
    data = SimpleNamespace(
        event_shape=(channels, 8, 8),
        train_reals=images,
        train_floats=lambda rows: images[rows],
        held_out_floats=lambda rows: images[rows],
    )
    judged = found(torch.rand(12), torch.rand(12))._replace(neighbours=torch.arange(12))
    draw_nearest(tmp_path / "x.png", images, data, judged)
    with Image.open(tmp_path / "x.png") as drawn:
        assert drawn.width > 100
