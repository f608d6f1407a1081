"""Folders that can be written, and data sets that torchvision downloads."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def writable(folder: Path) -> Path:
    """The folder, created if need be.

    Raises:
        ValueError: it cannot be created or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise ValueError(
            f"cannot write data to {folder} ({error}); set data.root or the environment "
            "variable GAN_GRADFLOW_DATA to a folder that you can write to"
        ) from error


def download(data_set: Callable[..., Any], root: Path, folder: str) -> None:
    """Download a torchvision data set to `root/folder`, unless it is there.

    It is downloaded beside its place and moved there when it is complete, so neither an
    interrupted download nor a second process leaves half a data set.

    Args:
        data_set: the torchvision class, called with `root` and `download`.
        root: the folder of data sets.
        folder: the name of the folder that the class writes below its root.

    Raises:
        ValueError: `root` cannot be written, or the files cannot be downloaded.
    """
    if (root / folder).is_dir():
        return
    with tempfile.TemporaryDirectory(dir=writable(root)) as partial:
        try:
            data_set(partial, download=True)
        except (OSError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[-1] if str(error) else "no reason"
            raise ValueError(
                f"{folder} is not in {root} and cannot be downloaded ({reason}); where "
                f"there is no internet, copy the folder {folder} to {root} from a "
                "machine that has it"
            ) from error
        try:
            (Path(partial) / folder).replace(root / folder)
        except OSError:
            if not (root / folder).is_dir():  # else another process was first
                raise


def read(data_set: Callable[..., Any], root: Path, folder: str, train: bool) -> Any:
    """One split of a torchvision data set that lies in `root/folder`.

    Raises:
        ValueError: files are missing or damaged.
    """
    try:
        return data_set(root, train=train)
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        raise ValueError(
            f"{root / folder} is incomplete or damaged ({error}); delete the folder, and "
            "it will be put there anew"
        ) from error
