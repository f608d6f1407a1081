"""Any folder of images, brought to one shape.

An image is turned upright, laid on white where it is transparent, converted to grey or to
RGB, scaled until it covers `event_shape`, and cropped at the centre. Of the N files in the
order of their names, number floor(i N / H) is held out for i = 0 .. H - 1, with
H = max(1, round(share N)): the same files each time, and evenly from every class.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS

from gan_gradflow.datamodules.base import DataSet, TensorDataModule


class ImageFolderDataModule(TensorDataModule):
    """Images below a folder; all of them are kept in memory as `uint8`.

    64 x 64 RGB takes 12 kB an image: 80 000 of them a gigabyte. Where all images lie in
    sub-folders, the name of the first sub-folder is the class. Names that begin with a dot
    are left out. Pixels have 8 bits, or 16, which are scaled; others are refused.

    Args:
        root: the folder; images are searched in all folders below it.
        held_out_share: the share of the images that training never sees.
        event_shape: `[1, height, width]` for grey images, `[3, height, width]` for RGB.
        batch_size: samples in a batch, over all processes.
        seed: what the order of the samples follows from.
        num_iterations: the length of the training loader.
        batches_per_iteration: batches that one iteration takes: n_critic.

    Raises:
        ValueError: `event_shape` is not that of an image, or `held_out_share` is not
            between 0 and 1.
    """

    def __init__(
        self,
        root: str,
        held_out_share: float,
        event_shape: Sequence[int],
        batch_size: int,
        seed: int,
        num_iterations: int,
        batches_per_iteration: int,
    ) -> None:
        super().__init__(
            event_shape, batch_size, seed, num_iterations, batches_per_iteration
        )
        if len(self.event_shape) != 3 or self.event_shape[0] not in (1, 3):
            raise ValueError(
                f"event_shape is {list(self.event_shape)}; an image is "
                "[1, height, width] or [3, height, width]"
            )
        if not 0 < held_out_share < 1:
            raise ValueError(
                f"held_out_share must be between 0 and 1, got {held_out_share}; try 0.1"
            )
        self.root = Path(root)
        self.held_out_share = held_out_share

    def load(self) -> DataSet:
        """Read all images.

        Raises:
            ValueError: the folder is missing or holds fewer than two images, or one of
                them cannot be read.
        """
        files = self._files()
        reals = torch.stack([self._image(file) for file in files])
        labels = self._labels(files)
        num_held_out = max(1, round(self.held_out_share * len(files)))
        held_out = torch.zeros(len(files), dtype=torch.bool)
        held_out[torch.arange(num_held_out) * len(files) // num_held_out] = True
        if labels is None:
            return DataSet(reals[~held_out], None, reals[held_out], None)
        return DataSet(
            reals[~held_out], labels[~held_out], reals[held_out], labels[held_out]
        )

    def _files(self) -> list[Path]:
        if not self.root.is_dir():
            raise ValueError(
                f"there is no folder {self.root}; set data.root to a folder of images"
            )
        files = sorted(
            file
            for file in self.root.rglob("*")
            if file.suffix.lower() in IMG_EXTENSIONS
            and file.is_file()
            and not any(p.startswith(".") for p in file.relative_to(self.root).parts)
        )
        if len(files) < 2:
            raise ValueError(
                f"{self.root} holds {len(files)} images with a name in "
                f"{' '.join(IMG_EXTENSIONS)}; at least 2 are needed, one to train on and "
                "one to hold out"
            )
        return files

    def _image(self, file: Path) -> Tensor:
        channels, height, width = self.event_shape
        try:
            with Image.open(file) as opened:
                upright = ImageOps.exif_transpose(opened)
                image = _on_white(_eight_bits(upright, opened.format))
                image = image.convert("L" if channels == 1 else "RGB")
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(
                f"{file} cannot be read as an image ({error}); mend or remove it"
            ) from error
        fitted = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
        pixels = torch.as_tensor(np.array(fitted))
        return pixels.view(height, width, channels).permute(2, 0, 1)

    def _labels(self, files: list[Path]) -> Tensor | None:
        parts = [file.relative_to(self.root).parts for file in files]
        if any(len(part) == 1 for part in parts):
            return None
        classes = sorted({part[0] for part in parts})
        return torch.tensor([classes.index(part[0]) for part in parts])


def _eight_bits(image: Image.Image, file_format: str | None) -> Image.Image:
    # Pillow's own conversion clips 16-bit grey at 255 instead of scaling it.
    if image.mode[0] not in "IF":
        return image
    levels = np.array(image)
    # These formats have no more than 16 bits, even where Pillow reads them as mode I.
    sixteen = image.mode.startswith("I;16") or (
        image.mode == "I" and file_format in ("PNG", "PPM")
    )
    if not sixteen:
        raise ValueError(
            f"its pixels are {levels.dtype}, for which no value is known to be white: "
            "save it with 8 or 16 bits"
        )
    if "transparency" in image.info:
        levels[levels == image.info["transparency"]] = 65535
    return Image.fromarray((levels // 257).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    if image.getbands()[-1] not in "Aa" and "transparency" not in image.info:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
