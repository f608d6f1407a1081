"""Pre-emption on a SLURM cluster: the job goes back into the queue by itself.

SLURM can send SIGUSR1 some time before a job's limit (`sbatch --signal=USR1@120`), as can
an administrator or a script (`scancel --signal=USR1 JOB`); submitit asks for SIGUSR2. The
iteration under way is finished, the state is saved, and the job is requeued under its own
number. When it starts again it finds its run folder and goes on.
"""

import logging
import os
import signal
import subprocess
import time

import lightning as L

from gan_gradflow.callbacks.graceful_stop import SIGNALS, GracefulStop

log = logging.getLogger(__name__)

_PATIENCE = 120.0  # seconds until SLURM ends the processes of a requeued job


class RequeueingStop(GracefulStop):
    """Ends a run as `GracefulStop` does; a job that is pre-empted is requeued first.

    Outside of a SLURM job it is a `GracefulStop`.
    """

    def after_saving(self, trainer: L.Trainer) -> None:
        """Requeue the job where a pre-emption ended it, and wait for SLURM to end it."""
        job = _job()
        asked = self.received in (signal.SIGUSR1, signal.SIGUSR2)
        if job is None or not asked or trainer.global_step >= trainer.max_steps:
            return
        for logger in trainer.loggers:
            logger.finalize("success")
        # From here on nothing is left to be saved, and SLURM's signal may end us.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if trainer.strategy.broadcast(
            _requeue(job) if trainer.is_global_zero else True
        ):
            time.sleep(_PATIENCE)


def _job() -> str | None:
    """What `scontrol` calls this job; None outside of one."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return "{SLURM_ARRAY_JOB_ID}_{SLURM_ARRAY_TASK_ID}".format_map(os.environ)
    return os.environ.get("SLURM_JOB_ID")


def _requeue(job: str) -> bool:
    log.info("requeueing job %s", job)
    # SLURM signals every process of a job, some of them twice: without this the command
    # may be ended by what it was started for. What is blocked here, a child inherits.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        done = subprocess.run(
            ["scontrol", "requeue", job], capture_output=True, text=True, check=False
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if done.returncode:
        reason = done.stderr.strip() or f"scontrol ended with {done.returncode}"
        log.error("the job cannot be requeued: %s", reason)
    return done.returncode == 0
