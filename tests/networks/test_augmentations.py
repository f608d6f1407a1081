"""Augmented images: what each draw does, and that it can be differentiated."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from gan_gradflow.networks.augmentations import Augmentation, ImageAugmentation

CONFIGS = Path(__file__).parents[2] / "configs" / "augmentation"
MIDDLE, NOWHERE = 0.5, 0.0  # no change; a square that is outside


def augmented(images, draws, **strengths):
    none = {"brightness": 0.0, "contrast": 0.0, "translation": 0.0, "cutout": 0.0}
    rows = torch.tensor([draws], dtype=images.dtype).expand(len(images), -1)
    return ImageAugmentation(**(none | strengths))(images, rows)


def images(count=2, side=8):
    return torch.randn(count, 3, side, side, dtype=torch.float64)


def test_without_strength_nothing_happens():
    x = images()
    torch.testing.assert_close(augmented(x, [0.1, 0.9, 0.3, 0.7, 0.2, 0.6]), x)


def test_brightness_is_added():
    draws = [0.75, *[MIDDLE] * 5]
    x = images()
    torch.testing.assert_close(augmented(x, draws, brightness=2.0), x + 0.5)


def test_contrast_scales_what_deviates_from_the_mean():
    draws = [MIDDLE, 0.0, *[MIDDLE] * 4]
    x = images()
    mean = x.mean((1, 2, 3), keepdim=True)
    expected = mean + 0.75 * (x - mean)
    torch.testing.assert_close(augmented(x, draws, contrast=0.25), expected)


@pytest.mark.parametrize(("draw", "shift"), [(0.0, -2), (0.5, 0), (0.999, 2)])
def test_a_translation_moves_and_leaves_grey_behind(draw, shift):
    x = images()
    found = augmented(x, [MIDDLE, MIDDLE, draw, MIDDLE, 0, 0], translation=0.25)
    expected = torch.zeros_like(x)
    rows = [r for r in range(8) if 0 <= r + shift < 8]
    expected[:, :, rows] = x[:, :, [r + shift for r in rows]]
    torch.testing.assert_close(found, expected)


def test_a_square_is_cut_out():
    x = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    draws = [*[MIDDLE] * 4, (4 + 1) / 12, (4 + 2) / 12]
    found = augmented(x, [d + 1e-9 for d in draws], cutout=0.5)
    rows, columns = (found[0, 0] == 0).nonzero(as_tuple=True)
    assert (sorted(set(rows.tolist())), len(rows)) == ([1, 2, 3, 4], 16)
    assert sorted(set(columns.tolist())) == [2, 3, 4, 5]


def test_every_pixel_is_cut_out_as_often():
    places = (torch.arange(12, dtype=torch.float64) + 0.5) / 12
    rows = torch.cartesian_prod(places, places)
    draws = torch.cat([torch.full((144, 4), 0.5, dtype=torch.float64), rows], dim=1)
    cut = ImageAugmentation(0.0, 0.0, 0.0, 0.5)(
        torch.ones(144, 1, 8, 8).double(), draws
    )
    assert (cut == 0).sum((0, 1)).unique().tolist() == [16]


def test_images_are_differentiated_through_it():
    x = images(2, 4).requires_grad_()
    draws = torch.rand(2, 6, dtype=torch.float64)
    augmentation = ImageAugmentation(1.0, 0.5, 0.25, 0.5)
    assert torch.autograd.gradcheck(lambda x: augmentation(x, draws), x)
    assert torch.autograd.gradgradcheck(lambda x: augmentation(x, draws) ** 2, x)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_a_yaml_builds_an_augmentation(path):
    augmentation = instantiate(OmegaConf.load(path))
    assert isinstance(augmentation, Augmentation)
    x = images()
    draws = torch.rand(2, augmentation.num_draws)
    assert augmentation(x, draws).shape == x.shape


@pytest.mark.parametrize(
    ("strengths", "message"),
    [
        ({"brightness": -1.0}, "brightness must not be negative, got -1.0"),
        ({"contrast": 1.0}, r"contrast must be in \[0, 1\), got 1.0"),
        ({"translation": -0.1}, r"translation must be in \[0, 1\), got -0.1"),
        ({"cutout": 2.0}, r"cutout must be in \[0, 1\), got 2.0"),
    ],
)
def test_strengths_out_of_range_are_refused(strengths, message):
    with pytest.raises(ValueError, match=message):
        augmented(images(), [0.5] * 6, **strengths)


def test_what_is_no_image_is_refused():
    with pytest.raises(ValueError, match=r"are \[2\]; choose augmentation=none"):
        augmented(torch.zeros(3, 2), [0.5] * 6)
