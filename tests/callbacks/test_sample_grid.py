"""Pictures show all channels, and nothing but the samples."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import to_pil_image

from gan_gradflow.callbacks.sample_grid import in_colours, picture
from gan_gradflow.cli.sample import _write_pictures
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
