"""Reading a run's checkpoint: plain tensors and plain data, never code."""

from pathlib import Path
from typing import Any

import torch

FORMAT = 1
"""The version of what a checkpoint holds; raised when a reader must know the difference."""


class CheckpointError(ValueError):
    """A file that is not a checkpoint of this project, or not one of this version."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The contents of a checkpoint, on the CPU.

    Raises:
        CheckpointError: the file is missing, truncated, damaged, holds something other
            than tensors and plain data, or was written by another program or version.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can fail in any way
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no data"
        raise CheckpointError(
            f"{path} is truncated, damaged or not a checkpoint ({reason})"
        ) from error
    if not isinstance(checkpoint, dict) or "gan_gradflow" not in checkpoint:
        raise CheckpointError(f"{path} was not written by gan-gradflow")
    found = checkpoint["gan_gradflow"].get("format")
    if found != FORMAT:
        raise CheckpointError(
            f"{path} has format {found}, and this version reads format {FORMAT}"
        )
    return checkpoint
