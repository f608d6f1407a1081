"""When two configurations mean the same data."""

from pathlib import Path
from typing import Any

_HOW_THEY_ARE_FED = {"batch_size", "num_iterations", "batches_per_iteration"}
# Of a mixture, these decide the draw and not the distribution; of any other data set, the
# seed decides the order.
_HOW_THEY_ARE_DRAWN = {"seed", "num_train", "num_held_out"}
_ANYTHING = {"root"} | _HOW_THEY_ARE_FED | _HOW_THEY_ARE_DRAWN


def data_identity(config: dict[str, Any]) -> dict[str, Any]:
    """What makes the data of a configuration what they are.

    Where a data set lies does not matter, except for a folder of images: its name does.
    """
    identity = {key: value for key, value in config.items() if key not in _ANYTHING}
    if str(config["_target_"]).endswith(".ImageFolderDataModule"):
        identity["root"] = Path(config["root"]).name
    return identity


def difference(first: dict[str, Any], second: dict[str, Any]) -> str:
    """The keys in which two identities differ, with both values; empty if in none."""
    keys = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    return ", ".join(
        f"{key} {first.get(key, 'none')} and {second.get(key, 'none')}" for key in keys
    )
