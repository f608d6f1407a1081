"""Pictures show all channels, and nothing but the samples."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import to_pil_image

from gan_gradflow.callbacks.sample_grid import _beside, in_colours, picture
from gan_gradflow.channels.simulator import SimulatorChannel
from gan_gradflow.cli.sample import _write_pictures
from gan_gradflow.datamodules.simulated import SimulatedDataModule
from gan_gradflow.metrics.evaluation import Evaluation
from gan_gradflow.reports.evaluation_pictures import draw_nearest

CHANNELS = [1, 2, 3, 4, 5]


@pytest.mark.parametrize("channels", CHANNELS)
def test_a_grid_is_rgb_whatever_the_channels(channels):
    grid = to_pil_image(picture(torch.rand(4, channels, 8, 8)))
    assert grid.mode == "RGB"


@pytest.mark.parametrize("channels", [4, 5])
def test_channels_beyond_three_are_side_by_side(channels):
    images = torch.rand(2, channels, 3, 6)
    drawn = in_colours(images)
    assert drawn.shape == (2, 1, 3, 6 * channels)
    assert drawn[1, 0, :, -6:].equal(images[1, -1])


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_rgb_are_drawn_as_they_are(channels):
    images = torch.rand(2, channels, 4, 4)
    assert in_colours(images).equal(images)


@pytest.mark.parametrize("channels", CHANNELS)
def test_single_images_have_no_transparency(tmp_path, channels):
    fakes = torch.rand(2, channels, 4, 4)
    written = _write_pictures({"images": True}, fakes, None, tmp_path / "drawn")
    with Image.open(written[-1]) as image:
        assert image.mode in ("L", "RGB")


@pytest.mark.parametrize("channels", CHANNELS)
def test_the_nearest_reals_are_drawn_whatever_the_channels(tmp_path, channels):
    fakes = torch.rand(2, channels, 4, 4)
    data = SimpleNamespace(
        event_shape=(channels, 4, 4),
        train_reals=fakes,
        train_floats=lambda rows: fakes[rows],
        held_out_floats=lambda rows: fakes[rows],
    )
    found = Evaluation(
        figures={},
        floor={},
        error={},
        distances=torch.ones(2),
        neighbours=torch.arange(2),
        real_distances=torch.ones(2),
        shares=None,
        real_shares=None,
    )
    assert draw_nearest(tmp_path / "nearest.png", fakes, data, found).exists()


@pytest.fixture
def drawn(monkeypatch):
    """The axes of each picture of points, which are otherwise thrown away."""
    kept = []

    def subplots(figure):
        kept.append(figure.add_subplot())
        return kept[-1]

    monkeypatch.setattr("matplotlib.figure.Figure.subplots", subplots)
    return kept


def legend(axes) -> list[str]:
    return [text.get_text() for text in axes.figure.legends[0].get_texts()]


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_samples_outside_of_the_frame_are_left_out_and_counted(drawn, dim):
    reals = torch.linspace(-1, 1, 10)[:, None].repeat(1, dim)
    fakes = torch.tensor([0.0, 0.5, 9.0, torch.nan])[:, None].repeat(1, dim)
    assert picture(fakes, reals).shape == (3, 320, 320)
    assert legend(drawn[0]) == ["reals", "fakes (2 of 4 outside)"]
    if dim > 1:
        assert len(drawn[0].collections[1].get_offsets()) == 2


@pytest.mark.parametrize("dim", [1, 2])
def test_a_single_real_is_the_truth_and_everything_is_in_the_frame(drawn, dim):
    picture(torch.linspace(3, 9, 4)[:, None].repeat(1, dim), torch.zeros(1, dim))
    assert legend(drawn[0]) == ["truth", "fakes"]
    low, high = drawn[0].get_xlim()
    assert low < 0
    assert high > 9


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("value", [2.0, torch.nan])
def test_points_that_are_all_the_same_or_none_are_drawn(dim, value):
    assert picture(torch.full((3, dim), value)).shape == (3, 320, 320)


@pytest.mark.parametrize(("on_samples", "shown"), [(False, [[2.0]]), (True, [[5.0]])])
def test_a_simulators_inputs_are_drawn_beside_the_true_ones(on_samples, shown):
    data = object.__new__(SimulatedDataModule)
    data.parameters = (2.0,)
    channel = object.__new__(SimulatorChannel)
    channel.__dict__["on_samples"] = on_samples
    assert _beside(torch.tensor([[5.0]]), data, channel).tolist() == shown
