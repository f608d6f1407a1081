"""TensorBoard's file of events, which a run outlives when it cannot be written."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loggers.logger import rank_zero_experiment
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.writer import FileWriter, SummaryWriter

from gan_gradflow.callbacks.endurance import Endurance

_FLUSH_SECONDS = 10
_VERSION = "brain.Event:2"


class DurableTensorBoardLogger(TensorBoardLogger):
    """Lightning's, with files that are begun anew when they fail or are deleted.

    Figures are lost while nothing can be written, and training is not.
    """

    @property
    @rank_zero_experiment
    def experiment(self) -> SummaryWriter:
        """The writer."""
        experiment: SummaryWriter | None = self._experiment  # type: ignore[has-type]
        if experiment is None:
            experiment = self._experiment = _Writer(self.log_dir, **self._kwargs)
        return experiment

    def save(self) -> None:
        """Write what is in memory, if that is possible."""
        with Endurance("TensorBoard's hparams.yaml")():
            super().save()


class EventFile:
    """Events go to a file at once, and to the disk every few seconds or when asked.

    Args:
        folder: where it lies; made if it is not there.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._writing = Endurance("TensorBoard's file")
        self._records: RecordWriter | None = None
        self._path = self._folder
        self._due = 0.0
        with self._guarded():
            self._open()

    def get_logdir(self) -> str:
        """The folder."""
        return str(self._folder)

    def add_event(self, event: Event) -> None:
        """Write an event, or lose it."""
        due = time.monotonic() >= self._due
        if self._records is None and not due:
            return
        with self._guarded():
            records = self._records or self._open()
            records.write(event.SerializeToString())
            if due:
                self._to_disk()

    def flush(self) -> None:
        """Bring everything to the disk."""
        with self._guarded():
            self._to_disk()

    def close(self) -> None:
        """Bring everything to the disk and end the file."""
        with self._guarded():
            if self._records is not None:
                self._records.close()
                self._records = None

    def reopen(self) -> None:
        """Nothing: the next event does."""

    def _open(self) -> RecordWriter:
        self._folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads the files of a folder by name, the last one last.
        newest = max(self._folder.glob("events.out.tfevents.*"), default=None)
        after = int(newest.name.split(".")[3]) + 1 if newest else 0
        place = f"{max(int(time.time()), after):010d}.{socket.gethostname()}"
        self._path = self._folder / f"events.out.tfevents.{place}.{os.getpid()}.0"
        records = self._records = RecordWriter(self._path.open("wb"))
        event = Event(wall_time=time.time(), file_version=_VERSION)
        records.write(event.SerializeToString())
        self._to_disk()
        return records

    def _to_disk(self) -> None:
        self._due = time.monotonic() + _FLUSH_SECONDS
        if self._records is not None:
            self._records.flush()
            if not self._path.exists():
                raise FileNotFoundError(0, "it was deleted", str(self._path))

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        with self._writing():
            try:
                yield
            except OSError as error:
                gone = isinstance(
                    error, FileNotFoundError
                )  # it can be made anew at once
                self._due = 0.0 if gone else time.monotonic() + _FLUSH_SECONDS
                records, self._records = self._records, None
                if records is not None:
                    with contextlib.suppress(OSError):
                        records.close()
                raise


class _FileWriter(FileWriter):
    def __init__(self, log_dir: str) -> None:
        self.event_writer = EventFile(log_dir)


class _Writer(SummaryWriter):
    file_writer: Any
    all_writers: Any

    def _get_file_writer(self) -> FileWriter:
        if self.file_writer is None:
            self.file_writer = _FileWriter(self.log_dir)
            self.all_writers = {self.log_dir: self.file_writer}
            if self.purge_step is not None:  # forget later steps of earlier files
                start = SessionLog(status=SessionLog.START)
                self.file_writer.add_event(Event(session_log=start), self.purge_step)
                self.purge_step = None
        return self.file_writer
