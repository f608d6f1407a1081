import numpy as np
import pytest
import torch
from PIL import Image

from gan_gradflow.datamodules.image_folder import ImageFolderDataModule


def module(root, **changes):
    arguments = {
        "held_out_share": 0.25,
        "event_shape": (3, 4, 4),
        "batch_size": 1,
        "seed": 0,
        "num_iterations": 1,
        "batches_per_iteration": 1,
    }
    return ImageFolderDataModule(str(root), **(arguments | changes))


def save(path, mode="L", size=(4, 4), colour=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


def grey_levels(images):
    return images[:, 0, 0, 0].tolist()


def test_every_fourth_image_in_the_order_of_names_is_held_out(tmp_path):
    for i in range(8):
        save(tmp_path / f"{i}.png", colour=10 * i)
    data = module(tmp_path)
    assert grey_levels(data.held_out) == [0, 40]
    assert grey_levels(data.train_reals) == [10, 20, 30, 50, 60, 70]
    assert data.train_labels is None


def test_sub_folders_are_the_classes(tmp_path):
    for name, colour in (("cat/b/1", 1), ("ant/1", 2), ("cat/2", 3), ("dog/1", 4)):
        save(tmp_path / f"{name}.png", colour=colour)
    data = module(tmp_path)
    assert grey_levels(data.held_out) == [2]
    assert data.held_out_labels.tolist() == [0]
    assert sorted(grey_levels(data.train_reals)) == [1, 3, 4]
    assert data.train_labels.tolist() == [1, 1, 2]


@pytest.mark.parametrize(("mode", "colour"), [
    ("L", 200), ("RGB", (200,) * 3), ("RGBA", (200, 200, 200, 255)), ("LA", (200, 255)),
    ("I;16", 200 * 257), ("1", 1), ("P", 0), ("CMYK", (55, 55, 55, 0)),
])  # fmt: skip
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_image_is_converted(tmp_path, mode, colour, channels):
    suffix = "tif" if mode == "CMYK" else "png"
    for name in "ab":
        save(tmp_path / f"{name}.{suffix}", mode=mode, colour=colour)
    data = module(tmp_path, event_shape=(channels, 4, 4))
    expected = {"1": 255, "P": 0}.get(mode, 200)
    assert torch.equal(data.held_out, torch.full_like(data.held_out, expected))


def test_an_image_is_scaled_and_cropped_at_its_centre(tmp_path):
    pixels = np.zeros((8, 24), dtype=np.uint8)
    pixels[:, 4:20] = 255  # the middle third is all that fits into a square
    for name in "ab":
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    data = module(tmp_path, event_shape=(1, 4, 4))
    assert torch.equal(data.held_out, torch.full((1, 1, 4, 4), 255, dtype=torch.uint8))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_is_white(tmp_path, mode):
    for name in "ab":
        strokes = Image.new(mode, (4, 4))  # black, and transparent
        strokes.putpixel((1, 2), (0,) * (len(mode) - 1) + (255,))
        strokes.save(tmp_path / f"{name}.png")
    expected = torch.full((1, 1, 4, 4), 255, dtype=torch.uint8)
    expected[0, 0, 2, 1] = 0
    assert torch.equal(module(tmp_path, event_shape=(1, 4, 4)).held_out, expected)


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "I;16"])
def test_a_colour_that_is_declared_transparent_is_white(tmp_path, mode):
    colour = (0, 0, 0) if mode == "RGB" else 0
    for name in "ab":
        Image.new(mode, (4, 4), colour).save(
            tmp_path / f"{name}.png", transparency=colour
        )
    assert grey_levels(module(tmp_path).held_out) == [255]


def test_an_image_of_16_bits_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    for name in "ab":
        turned = Image.new("I;16", (4, 4))
        turned.putpixel((0, 0), 65535)
        turned.save(tmp_path / f"{name}.png", exif=exif)
    assert module(tmp_path).held_out[0, :, 3, 3].tolist() == [255] * 3


@pytest.mark.parametrize(("mode", "kind"), [("I", "int32"), ("F", "float32")])
def test_pixels_of_32_bits_are_refused(tmp_path, mode, kind):
    for name in "ab":
        save(tmp_path / f"{name}.tiff", mode=mode, colour=1)
    with pytest.raises(ValueError, match=rf"a\.tiff .* {kind},.* 8 or 16 bits"):
        module(tmp_path).setup("fit")


def test_names_that_begin_with_a_dot_are_left_out(tmp_path):
    for name in (".checkpoints/a-checkpoint", "cat/._a", "cat/a", "dog/a"):
        save(tmp_path / ".data" / f"{name}.png")  # the folder itself may be hidden
    data = module(tmp_path / ".data")
    assert (len(data.train_reals), len(data.held_out)) == (1, 1)
    assert data.train_labels.tolist() == [1]


def test_height_comes_before_width(tmp_path):
    for name in "ab":
        save(tmp_path / f"{name}.png", size=(6, 3))
    data = module(tmp_path, event_shape=(1, 3, 6))
    assert data.train_reals.shape == (1, 1, 3, 6)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no folder .*nowhere.*data.root"):
        module(tmp_path / "nowhere").setup("fit")


def test_a_folder_without_images_is_named(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"holds 0 images.*\.png"):
        module(tmp_path).setup("fit")


def test_a_damaged_image_is_named(tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    with pytest.raises(ValueError, match=r"b\.png cannot be read.*mend or remove"):
        module(tmp_path).setup("fit")


def test_a_shape_that_is_not_an_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"event_shape is \[2, 4, 4\]"):
        module(tmp_path, event_shape=(2, 4, 4))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_that_leaves_one_side_empty_is_refused(tmp_path, share):
    with pytest.raises(ValueError, match=f"between 0 and 1, got {share}"):
        module(tmp_path, held_out_share=share)
