"""When two configurations mean the same data."""

from pathlib import Path
from typing import Any

_HOW_THEY_ARE_FED = {"batch_size", "num_iterations", "batches_per_iteration"}
# These decide the draw, the split or the order, and not the distribution.
_HOW_THEY_ARE_DRAWN = {"seed", "num_train", "num_held_out"}
_ANYTHING = {"root"} | _HOW_THEY_ARE_FED | _HOW_THEY_ARE_DRAWN


def data_identity(config: dict[str, Any]) -> dict[str, Any]:
    """What makes the data of a configuration what they are.

    Other draws of one distribution, or other splits of one file, are the same data. Where
    a data set lies does not matter, except for a folder of images: its name does.
    """
    identity = {key: value for key, value in config.items() if key not in _ANYTHING}
    if str(config["_target_"]).endswith(".ImageFolderDataModule"):
        identity["root"] = Path(config["root"]).name
    return identity


def draw_identity(config: dict[str, Any]) -> dict[str, Any]:
    """What makes the samples those that they are, beside the identity of the data.

    That is the seed of data which it draws, or splits into training and held-out samples;
    nothing where it decides no more than the order.
    """
    is_split = str(config["_target_"]).endswith(".TextLinesDataModule")
    return {"seed": config.get("seed")} if is_split or "num_train" in config else {}


def difference(first: dict[str, Any], second: dict[str, Any]) -> str:
    """The keys in which two identities differ, with both values; empty if in none."""
    keys = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    return ", ".join(
        f"{key} {first.get(key, 'none')} and {second.get(key, 'none')}" for key in keys
    )
