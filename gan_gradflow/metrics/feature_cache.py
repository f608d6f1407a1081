"""Features of reals, computed once and kept in files that cannot be stale.

A file is named by a hash of everything that its content follows from: each value of the
samples, their shape, number and order; what is done to them; the network's weights,
structure and code. Whatever changes, the name changes with it.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gan_gradflow.metrics.extractor import Extractor

_FORMAT = "1"

Chunks = Callable[[], Iterator[Tensor]]
"""Goes through the samples from the start, some `[n, *event]` at a time."""


class FeatureCache:
    """Features from a folder of files, or from the network where there is none yet.

    Args:
        folder: where the files are; None keeps none.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self.folder = None if folder is None else Path(folder)

    def features(self, extractor: Extractor, chunks: Chunks) -> Float[Tensor, "n d"]:
        """The features of all samples in the chunks."""
        if self.folder is None:
            return torch.cat([extractor(chunk) for chunk in chunks()])
        path = self.folder / f"{self.key(extractor, chunks)}.safetensors"
        kept = _read(path)
        if kept is None:
            kept = torch.cat([extractor(chunk) for chunk in chunks()])
            _write(path, kept)
        return kept

    def key(self, extractor: Extractor, chunks: Chunks) -> str:
        """What the features of these samples are filed under."""
        seen = hashlib.sha256()
        for part in (_FORMAT, extractor.preprocessing, extractor.fingerprint()):
            seen.update(part.encode())
        count = 0
        event: tuple[int, ...] = ()
        for chunk in chunks():
            count, event = count + len(chunk), tuple(chunk.shape[1:])
            seen.update(chunk.contiguous().numpy().tobytes())
        seen.update(f"{count} of {event}".encode())
        return seen.hexdigest()


def _read(path: Path) -> Tensor | None:
    try:
        return load_file(path)["features"]
    except (OSError, SafetensorError, KeyError):  # none yet, or damaged: computed anew
        return None


def _write(path: Path, features: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    save_file({"features": features}, partial)
    partial.replace(path)
