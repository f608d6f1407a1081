"""A job that was started wrongly fails at once, and says how to start it."""

import pytest
from hydra.core.hydra_config import HydraConfig

from gan_gradflow.cli.errors import ConfigError
from gan_gradflow.cli.launching import STRATEGY, check_processes, name_after_job

MARKS = (
    "RANK",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "GROUP_WORLD_SIZE",
    "TORCHELASTIC_RUN_ID",
    "SLURM_JOB_ID",
    "SLURM_JOB_NAME",
    "SLURM_NNODES",
    "SLURM_NTASKS",
    "SLURM_NTASKS_PER_NODE",
    "SLURM_PROCID",
    "SLURM_STEP_ID",
)
SRUN = {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": "2"}


@pytest.fixture
def started(monkeypatch):
    """Sets the marks of a launcher, and takes away all others."""

    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)  # of tests before

    def mark(marks: dict[str, str]) -> None:
        for name in MARKS:
            monkeypatch.delenv(name, raising=False)
        for name, value in marks.items():
            monkeypatch.setenv(name, value)

    return mark


def ddp(devices, num_nodes=1, strategy=STRATEGY) -> dict:
    return {"devices": devices, "num_nodes": num_nodes, "strategy": strategy}


@pytest.mark.parametrize(
    ("marks", "trainer", "message"),
    [
        ({}, {"devices": 2}, "add trainer=ddp"),
        ({}, ddp(3), "multiple of 3"),
        ({}, ddp(2, strategy="ddp"), "use trainer=ddp"),
        ({}, ddp(1, strategy="fsdp"), "use trainer=ddp"),
        ({}, ddp(1, strategy="deepspeed_stage_2"), STRATEGY),
        ({"SLURM_NTASKS": "2"}, ddp(2), "put srun before"),
        (SRUN, ddp(4), "--nodes and --ntasks-per-node"),
        (SRUN | {"SLURM_NTASKS_PER_NODE": "3"}, ddp(3), "leave --ntasks out"),
        (SRUN | {"SLURM_NTASKS_PER_NODE": "4"}, {"devices": 1}, "use trainer=ddp"),
        (SRUN | {"SLURM_NTASKS": "1"}, ddp(2), "1 tasks"),
        (TORCHRUN, {"devices": 1}, "use trainer=ddp"),
    ],
)
def test_what_cannot_work_is_refused_with_what_does(
    started, marks, trainer, message
) -> None:
    started(marks)
    with pytest.raises(ConfigError, match=message):
        check_processes({"trainer": trainer, "data": {"batch_size": 20}})


@pytest.mark.parametrize(
    ("marks", "trainer", "processes"),
    [
        ({}, {"devices": 1}, 1),
        ({}, ddp("auto"), 1),
        ({}, ddp("0,1"), 2),
        (SRUN | {"SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "2"}, ddp(2, 2), 4),
        (TORCHRUN, ddp(2), 2),
        # An allocation in which one types commands by hand.
        ({"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "bash"}, ddp(2), 2),
    ],
)
def test_the_number_of_processes_is_known(started, marks, trainer, processes) -> None:
    started(marks)
    config = {"trainer": trainer, "data": {"batch_size": 20}}
    assert check_processes(config) == processes


def test_processes_of_torchrun_need_a_name_for_their_run(cli, started) -> None:
    started(TORCHRUN)
    result = cli("train", "trainer=ddp")
    assert result.code == 2
    assert "add run_name=NAME" in result.err


def test_a_sweep_over_several_processes_is_refused(train, started) -> None:
    started({})
    result = train("-m", "seed=1,2", "trainer=ddp", "trainer.devices=2")
    assert result.code == 2
    assert "-m cluster=slurm" in result.err


def test_a_run_is_named_after_its_job(started) -> None:
    job = {"SLURM_JOB_ID": "42", "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train"}
    started(job)
    assert name_after_job(["seed=1"]) == ["seed=1", "run_name=job_42"]
    for named in ("run_name=mine", "++run_name=mine"):
        assert name_after_job([named]) == [named]
    assert name_after_job(["-m", "seed=1,2"]) == ["-m", "seed=1,2"]
    started(job | {"SLURM_JOB_NAME": "interactive"})
    assert name_after_job(["seed=1"]) == ["seed=1"]
