"""A run's checkpoints: plain tensors and plain data, never code; whole, or not there.

`last.ckpt` is the newest and `previous.ckpt` the one before it; `best.ckpt` is that of the
best quality so far. Each holds, beside what Lightning keeps,

    gan_gradflow:
        format         the version of what a checkpoint holds
        config_digest  what `digest_of` makes of the run's configuration
        queries        the critic's, so far
        seconds        that the run has taken
        skipped        iterations that were skipped because something was not finite
        chunk_size     the samples that the critic scores at once, or None for all
        random         the state of every random generator, for each rank
        seal           what `seal_of` makes of all keys and plain values

The seal tells a file that was changed by mistake from one that was not. It is no
signature: whoever changes a checkpoint on purpose can seal it again.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FORMAT = 2
"""The version of what a checkpoint holds; raised when a reader must know the difference."""

LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"
BEST = "best.ckpt"

ABOUT_THE_COMMAND = ("run_name", "run_dir", "run_overrides")
"""Keys of a configuration that say how a run was started, not what it computes."""

_HOLDS = {
    "state_dict": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
    "loops": dict,
    "callbacks": dict,
    "global_step": int,
    "hyper_parameters": dict,
    "gan_gradflow": dict,
}
_MARKS = {
    "config_digest": str,
    "queries": int,
    "skipped": int,
    "random": list,
    "seal": str,
}


class CheckpointError(ValueError):
    """A file that is not a checkpoint of this project, or not one of this version."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The contents of a checkpoint, on the CPU.

    Raises:
        CheckpointError: the file is missing, truncated, damaged, holds something other
            than tensors and plain data, or was written by another program or version.
    """
    path = Path(path)
    if path.is_dir():
        there = [f for f in (path / LAST, path / "checkpoints" / LAST) if f.is_file()]
        way = f"; give {there[0]}" if there else "; give a file in it"
        raise CheckpointError(f"there is no checkpoint {path}: it is a folder{way}")
    if not path.is_file():
        beside = [str(run / "checkpoints" / LAST) for run in runs_beside(path)]
        way = f"; there is {', '.join(beside)}" if beside else "; give a .ckpt file"
        raise CheckpointError(f"there is no checkpoint {path}{way}")
    try:
        damaged = _first_damaged_record(path)
        if damaged is not None:
            raise CheckpointError(f"{path} is damaged (in {damaged})")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # a damaged file can fail in any way
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no data"
        raise CheckpointError(
            f"{path} is truncated, damaged or not a checkpoint ({reason[:300]})"
        ) from error
    _check(path, checkpoint)
    return checkpoint


def runs_beside(path: Path) -> list[Path]:
    """At most three run folders with a checkpoint, the newest first.

    Those in the innermost folder that there is of a path which leads nowhere.
    """
    folder = next((parent for parent in path.parents if parent.is_dir()), Path())
    found = folder.glob(f"*/checkpoints/{LAST}")
    newest = sorted(found, key=lambda file: file.stat().st_mtime, reverse=True)
    return [file.parents[1] for file in newest[:3]]


def _first_damaged_record(path: Path) -> str | None:
    # torch reads the records of the archive without looking at their check sums, and one
    # that is marked as a folder, in an attribute that it leaves at 0, as zeros.
    with zipfile.ZipFile(path) as archive:
        marked = [info.filename for info in archive.infolist() if info.external_attr]
        return marked[0] if marked else archive.testzip()


def _check(path: Path, checkpoint: Any) -> None:
    if not isinstance(checkpoint, dict) or not isinstance(
        checkpoint.get("gan_gradflow"), dict
    ):
        raise CheckpointError(f"{path} was not written by gan-gradflow")
    marks = checkpoint["gan_gradflow"]
    if marks.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {marks.get('format')}, and this version reads format "
            f"{FORMAT}"
        )
    for contents, needed in ((checkpoint, _HOLDS), (marks, _MARKS)):
        for key, kind in needed.items():
            if not isinstance(contents.get(key), kind):
                raise CheckpointError(f"{path} is not whole: it has no {key}")
    config = checkpoint["hyper_parameters"].get("config")
    if not isinstance(config, dict) or not isinstance(config.get("run_dir"), str):
        raise CheckpointError(f"{path} is not whole: it has no configuration")
    if seal_of(checkpoint) != marks["seal"]:
        raise CheckpointError(
            f"{path} is damaged, or was changed and not sealed again: see `sealed` in "
            "gan_gradflow.modules.checkpoint"
        )


def digest_of(config: dict[str, Any]) -> str:
    """A hash of a configuration, which does not depend on where the run folder lies."""
    kept = {k: v for k, v in config.items() if k not in ABOUT_THE_COMMAND}
    kept = moved(kept, config["run_dir"], "")
    text = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The same checkpoint, with the marks that belong to what it holds now."""
    config = checkpoint.get("hyper_parameters", {}).get("config")
    marks = checkpoint["gan_gradflow"]
    marks["config_digest"] = digest_of(config) if config else ""
    marks["seal"] = ""  # its place is part of what is sealed
    marks["seal"] = seal_of(checkpoint)
    return checkpoint


def seal_of(checkpoint: dict[str, Any]) -> str:
    """A hash of all keys and values but the elements of tensors, which the file checks."""
    seal = hashlib.sha256()
    for place, value in _leaves("", checkpoint):
        if place != "/'gan_gradflow'/'seal'":
            seal.update(f"{place}: {value!r}\n".encode())
    return seal.hexdigest()


def _leaves(place: str, node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        yield place, len(node)
        for key, value in node.items():
            yield from _leaves(f"{place}/{key!r}", value)
    elif isinstance(node, (list, tuple)):
        yield place, (type(node).__name__, len(node))
        for index, item in enumerate(node):
            yield from _leaves(f"{place}/{index}", item)
    elif isinstance(node, Tensor):
        yield place, (node.dtype, node.shape)
    else:
        yield place, node


def moved(node: Any, old: str, new: str) -> Any:
    """Plain data with every path below the folder `old` as one below `new`."""
    if isinstance(node, dict):
        return {moved(k, old, new): moved(v, old, new) for k, v in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(moved(item, old, new) for item in node)
    if isinstance(node, str) and (node == old or node.startswith(f"{old}/")):
        return new + node[len(old) :]
    return node
