"""Where the time of an iteration goes, as a trace that Perfetto opens."""

import logging
from pathlib import Path

import lightning as L
import torch
from torch.profiler import ProfilerActivity, profile

log = logging.getLogger(__name__)


class ProfilerTrace(L.Callback):
    """Records every operation of a few iterations and writes them as a trace.

    Open the file in https://ui.perfetto.dev or chrome://tracing. Recording slows these
    iterations down; the others cost nothing.

    Args:
        first_iteration: the first that is recorded, counted from 0; the very first ones
            allocate, tune and compile.
        num_iterations: how many are recorded.
        file: where the trace goes, ending in .json or .json.gz.

    Raises:
        ValueError: a number is out of range, or `file` is no trace's name.
    """

    def __init__(self, first_iteration: int, num_iterations: int, file: str) -> None:
        if first_iteration < 0:
            raise ValueError(
                f"first_iteration must not be negative, got {first_iteration}; try 20"
            )
        if num_iterations < 1:
            raise ValueError(
                f"num_iterations must be at least 1, got {num_iterations}; try 5"
            )
        if not file.endswith((".json", ".json.gz")):
            raise ValueError(f"file must end in .json or .json.gz, got {file}")
        self.first_iteration = first_iteration
        self.num_iterations = num_iterations
        self.file = Path(file)
        self._profile: profile | None = None

    def on_train_batch_start(self, trainer, pl_module, *_) -> None:  # type: ignore[no-untyped-def]
        """Start to record, if it is time to."""
        if trainer.is_global_zero and trainer.global_step == self.first_iteration:
            activities = [ProfilerActivity.CPU]
            if torch.cuda.is_available():
                activities.append(ProfilerActivity.CUDA)
            self._profile = profile(activities=activities)
            self._profile.start()

    def on_train_batch_end(self, trainer, pl_module, *_) -> None:  # type: ignore[no-untyped-def]
        """Write what was recorded, once it is enough."""
        if trainer.global_step == self.first_iteration + self.num_iterations:
            self._write()

    def teardown(self, trainer, pl_module, stage: str) -> None:  # type: ignore[no-untyped-def]
        """Write what there is of a run that ended early."""
        self._write()

    def _write(self) -> None:
        if self._profile is None:
            return
        self._profile.stop()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self._profile.export_chrome_trace(str(self.file))
        self._profile = None
        log.info("the trace is in %s: open it in https://ui.perfetto.dev", self.file)
