"""How many processes train, who has started them, and whether that can work.

Three ways lead to several processes, and each leaves its marks in the environment:

* `gan-gradflow train trainer=ddp trainer.devices=N`: the first process starts the others;
* `torchrun`: all are there already, marked by TORCHELASTIC_RUN_ID;
* `srun`: all are there already, marked by SLURM_NTASKS.

A job that was started wrongly would wait for processes that never come, so all is checked
before anything is built. Nothing here imports torch.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from gan_gradflow.cli.errors import ConfigError
from gan_gradflow.overrides import last_value

if TYPE_CHECKING:
    import lightning as L

STRATEGY = "ddp_find_unused_parameters_true"

_ON_ITS_OWN = ("auto", STRATEGY)
_LOST = "closed by peer|reset by peer|Broken pipe|NCCL|gloo.*(timed out|timeout)"
_PATIENCE = 20.0  # seconds that the others get to end by themselves


def rank() -> int:
    """This process's place among all, as far as the environment tells; 0 is the first."""
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        if name in os.environ:
            return int(os.environ[name])
    return 0


def job_name() -> str | None:
    """What all processes of a job, and the job after a requeue, call their run.

    None outside of a job, in an interactive one, and where torchrun was given no id: there
    the time of day is a better name.
    """
    job = os.environ.get("SLURM_JOB_ID") if _by_slurm() else None
    if _by_torchrun():
        job = os.environ["TORCHELASTIC_RUN_ID"]
    return None if job in (None, "none") else f"job_{job}"  # a bare number is no name


def requeued(run_dir: str) -> bool:
    """Whether this job ran before, up to a checkpoint in its run folder."""
    restarts = int(os.environ.get("SLURM_RESTART_COUNT", 0))
    return restarts > 0 and any((Path(run_dir) / "checkpoints").glob("*.ckpt"))


def name_after_job(arguments: list[str]) -> list[str]:
    """The arguments of `train`, with the job's name for a run that was given none."""
    name = job_name()
    sweep = {"-m", "--multirun"} & set(arguments)
    return (
        arguments
        if name is None or sweep or _gives_a_place(arguments)
        else [*arguments, f"run_name={name}"]
    )


def check_processes(config: dict[str, Any]) -> int:
    """The number of processes that will train.

    Raises:
        ConfigError: they would never find each other, or cannot train this together.
    """
    trainer = config["trainer"]
    devices, nodes = _count(trainer.get("devices", 1)), trainer.get("num_nodes", 1)
    if _by_torchrun():
        _check_torchrun(devices, nodes)
    elif _by_slurm():
        _check_slurm(devices, nodes)
    _check_strategy(trainer.get("strategy", "auto"), devices * nodes)
    if devices * nodes > 1:
        _check_sweep()
        batch_size = config["data"].get("batch_size", 0)
        if batch_size % (devices * nodes):
            raise ConfigError(
                f"data.batch_size is the batch of all processes, and {batch_size} does "
                f"not divide by {devices * nodes} of them; use a multiple of "
                f"{devices * nodes}"
            )
    return devices * nodes


def description(config: dict[str, Any], processes: int) -> str:
    """What is to be known of a run on several processes, in one line."""
    batch_size = config["data"].get("batch_size", 0)
    if synchronises_batch_norm(config["trainer"]):
        statistics = "sees the whole batch"
    else:
        statistics = "normalises by each process's own rows, and keeps mean statistics"
    return (
        f"{processes} processes, {batch_size // processes} of {batch_size} samples each; "
        f"batch norm, if there is any, {statistics}"
    )


def synchronises_batch_norm(trainer: dict[str, Any]) -> bool:
    """Whether batch norm can see the batch of all processes: on GPUs alone."""
    import torch

    on_gpu = trainer.get("accelerator", "auto") in ("auto", "gpu", "cuda")
    return on_gpu and torch.cuda.is_available()


def repeat_command(command: str) -> None:
    """Let Lightning start further processes with this process's own command line."""
    if sys.argv[1:2] != [command]:
        sys.argv.insert(1, command)


def lost_another(error: Exception) -> bool:
    """Whether an error says no more than that another process is gone."""
    return re.search(_LOST, str(error), re.IGNORECASE) is not None


def fate(trainer: "L.Trainer") -> str:
    """What became of the process that ended first, as far as this one can tell."""
    time.sleep(1)  # an exit code takes a moment longer than a closed connection
    procs = getattr(trainer.strategy.launcher, "procs", ())
    for number, process in enumerate(procs, start=1):
        code = process.poll()
        if code is not None and code < 0:
            return f"process {number} was killed by {signal.Signals(-code).name}"
        if code:
            return f"process {number} failed with code {code}; its message says why"
    return "another process ended; its message says why"


def end_others(trainer: "L.Trainer") -> None:
    """See that the processes which this one started have ended: by themselves, or now."""
    deadline = time.monotonic() + _PATIENCE
    for process in getattr(trainer.strategy.launcher, "procs", ()):
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()


def end_with_the_first() -> None:
    """Let a process that another one started end with it, whatever it is waiting for."""
    if "LOCAL_RANK" in os.environ and not _by_torchrun() and rank() > 0:
        parent = os.getppid()
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def explain_before_the_end() -> None:
    """Let the first process say what happened before Lightning kills it.

    Lightning's observer kills it within five seconds of the death of a process that it
    started, whether it hangs or is about to end with an explanation. Now it waits first.
    """
    from lightning.fabric.strategies.launchers.subprocess_script import (
        _ChildProcessObserver,
    )

    kill = _ChildProcessObserver._terminate_all
    if kill.__module__ == __name__:
        return

    def wait_and_kill(observer: _ChildProcessObserver) -> None:
        time.sleep(_PATIENCE)  # a daemon's sleep: it ends with the process
        kill(observer)

    _ChildProcessObserver._terminate_all = wait_and_kill  # type: ignore[method-assign]


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _count(devices: int | str | list[int]) -> int:
    if isinstance(devices, list):
        return len(devices)
    if devices in ("auto", -1, "-1"):
        import torch  # late: only a GPU's driver knows how many there are

        return max(1, torch.cuda.device_count())
    listed = str(devices).split(",")
    try:
        return len(listed) if len(listed) > 1 else int(devices)
    except ValueError:
        raise ConfigError(
            f"trainer.devices is {devices!r}, and it must be a number, a list of GPUs or "
            "auto"
        ) from None


def _by_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def _by_slurm() -> bool:
    interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return "SLURM_NTASKS" in os.environ and not interactive


def _check_torchrun(devices: int, nodes: int) -> None:
    per_node = int(os.environ["LOCAL_WORLD_SIZE"])
    groups = int(os.environ.get("GROUP_WORLD_SIZE", 1))
    if (devices, nodes) != (per_node, groups):
        raise ConfigError(
            f"torchrun started {per_node} processes on each of {groups} nodes, and the "
            f"configuration says trainer.devices={devices} on {nodes}; use trainer=ddp, "
            "which takes both from torchrun"
        )
    if job_name() is None and not _named():
        raise ConfigError(
            "processes that torchrun starts cannot agree on a run folder by the time of "
            "day; add run_name=NAME, or start with torchrun --standalone or --rdzv-id=ID"
        )


def _check_slurm(devices: int, nodes: int) -> None:
    tasks = int(os.environ["SLURM_NTASKS"])
    if tasks > 1 and "SLURM_STEP_ID" not in os.environ:
        raise ConfigError(
            f"this job has {tasks} tasks, and only one process was started, which would "
            "wait for the others forever; put srun before the command"
        )
    per_node = os.environ.get("SLURM_NTASKS_PER_NODE")
    if tasks > 1 and per_node is None:
        raise ConfigError(
            f"this job has {tasks} tasks, and how many run on each node is left open; "
            "replace --ntasks by --nodes and --ntasks-per-node"
        )
    found = (int(per_node or 1), int(os.environ.get("SLURM_NNODES", 1)))
    if tasks != found[0] * found[1]:
        raise ConfigError(
            f"this job has {tasks} tasks, and {found[0]} on each of {found[1]} nodes are "
            f"{found[0] * found[1]}; leave --ntasks out"
        )
    if (devices, nodes) != found:
        raise ConfigError(
            f"this job has {found[0]} tasks on each of {found[1]} nodes, and the "
            f"configuration says trainer.devices={devices} on {nodes}; use trainer=ddp, "
            "which takes both from the job"
        )


def _check_strategy(strategy: Any, processes: int) -> None:
    if strategy == STRATEGY or (processes == 1 and strategy in _ON_ITS_OWN):
        return
    if processes > 1 and strategy == "auto":
        raise ConfigError(
            f"{processes} processes need a strategy that expects one player at a time to "
            "learn; add trainer=ddp"
        )
    raise ConfigError(
        f"trainer.strategy={strategy} cannot train two players that take turns: in each "
        "phase the other's parameters get no gradient, and shards of them would be "
        f"missing; use trainer=ddp, whose strategy is {STRATEGY}"
    )


def _check_sweep() -> None:
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return
    if "basic_launcher" in str(HydraConfig.get().launcher.get("_target_")):
        raise ConfigError(
            "a sweep over several processes would be swept by each of them; submit its "
            "runs as jobs (-m cluster=slurm), or use trainer.devices=1, or start the runs "
            "one by one"
        )


def _named() -> bool:
    if not HydraConfig.initialized():
        return True
    overrides = HydraConfig.get().overrides
    given = [*overrides.task, *overrides.hydra]
    return _gives_a_place(given)


def _gives_a_place(arguments: list[str]) -> bool:
    keys = ("run_name", "hydra.run.dir")
    return any(last_value(arguments, key) is not None for key in keys)
