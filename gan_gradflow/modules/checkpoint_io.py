"""How checkpoints get to the disk and back.

A checkpoint is written beside its place, forced to the disk and renamed, so that a kill
at any moment leaves the old file or the new one. The `last.ckpt` that is replaced stays
as `previous.ckpt`.
"""

import contextlib
import io
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO

from gan_gradflow.modules.checkpoint import LAST, PREVIOUS, moved, read_checkpoint

log = logging.getLogger(__name__)

FINAL = {"final": True}
"""Storage options for the state in which a run ends, which is not to be lost."""


class DurableCheckpointIO(CheckpointIO):
    """Writes atomically, outlives a disk that does not take a checkpoint, reads no code.

    Where a checkpoint cannot be written, training goes on with one warning until one can
    be written again. The final one is then saved elsewhere.

    Args:
        elsewhere: folders to try for a final state that does not fit in the run folder.

    Attributes:
        final: where the final state went, or None.
    """

    def __init__(self, elsewhere: Sequence[str]) -> None:
        self.elsewhere = [Path(folder).expanduser() for folder in elsewhere]
        self.final: Path | None = None
        self._failed: set[str] = set()
        self._written: set[Path] = set()

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any | None = None,
    ) -> None:
        """Write a checkpoint, or say once why it cannot be written."""
        path = Path(path)
        final = storage_options == FINAL
        if path.parent in self._written and not path.parent.exists():
            log.warning("%s was deleted, and is made anew", path.parent)
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        try:
            write_durably(buffer.getbuffer(), path)
        except OSError as error:
            if final:
                self.final = self._rescue(buffer.getbuffer(), path, error)
            elif path.name not in self._failed:
                self._failed.add(path.name)
                log.warning(
                    "%s could not be written (%s); training goes on, and tries again at "
                    "the next checkpoint",
                    path,
                    error.strerror or error,
                )
            return
        self._failed.discard(path.name)
        self._written.add(path.parent)
        self.final = path if final else self.final

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any | None = None,  # noqa: ARG002
        weights_only: bool | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        """The contents of a checkpoint, with its paths as they are now.

        Raises:
            CheckpointError: it cannot be read.
        """
        contents = read_checkpoint(path)
        old = contents["hyper_parameters"]["config"]["run_dir"]
        callbacks = moved(contents["callbacks"], old, str(Path(path).parents[1]))
        return {**contents, "callbacks": callbacks}

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            Path(path).unlink()

    def _rescue(self, payload: memoryview, path: Path, error: OSError) -> Path | None:
        """Save a state elsewhere, laid out as a run folder; where, or None."""
        why = f"{path} could not be written ({error.strerror or error})"
        for folder in self.elsewhere:
            with contextlib.suppress(OSError):
                run = tempfile.mkdtemp(prefix=f"{path.parents[1].name}-", dir=folder)
                kept = Path(run, path.parent.name, path.name).absolute()
                try:
                    write_durably(payload, kept)
                except OSError:
                    _remove_empty(kept.parent, Path(run))
                    raise
                log.warning("%s; the final state is saved in %s", why, kept)
                return kept
        places = ", ".join(map(str, self.elsewhere))
        log.error("%s, and nothing in %s either: the final state is lost", why, places)
        return None


def write_durably(payload: bytes | memoryview, path: Path) -> None:
    """Put bytes into a file, all of them or none; keep the last.ckpt that was there.

    Raises:
        OSError: they could not be written; what was there is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _partial(path) as partial:
        with partial.open("wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        if path.name == LAST and path.exists():
            _keep(path)
        partial.replace(path)
    _sync_folder(path.parent)


@contextlib.contextmanager
def _partial(path: Path) -> Iterator[Path]:
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def _keep(path: Path) -> None:
    """Give the old file a second name; where a disk has no links, its only one."""
    second = path.with_name(f".{PREVIOUS}.partial")
    with contextlib.suppress(FileNotFoundError):
        second.unlink()
    try:
        second.hardlink_to(path)
    except OSError:
        path.replace(path.with_name(PREVIOUS))
    else:
        second.replace(path.with_name(PREVIOUS))


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every file system can
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_empty(*folders: Path) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
