"""An evaluation in TensorBoard: its figures beside their floors, and its pictures."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter


def show_in_tensorboard(
    folder: Path, results: dict[str, Any], pictures: dict[str, Path]
) -> None:
    """Write one event file.

    Args:
        folder: where it goes.
        results: of an evaluation, as in `evaluation.json`.
        pictures: PNG files by name; others are left out.
    """
    with SummaryWriter(folder) as writer:
        for key in ("quality", "quality_floor", "figures", "floor", "error"):
            for name, value in results[key].items():
                writer.add_scalar(f"evaluation_{key}/{name}", value, 0)
        for name, path in pictures.items():
            if path.suffix == ".png":
                with Image.open(path) as image:
                    pixels = np.array(image.convert("RGB"))
                writer.add_image(f"evaluation/{name}", pixels, 0, dataformats="HWC")
