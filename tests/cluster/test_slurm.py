"""Jobs on a real SLURM: submitted, swept, pre-empted and requeued.

They take a cluster on this machine, which is started where
GAN_GRADFLOW_TEST_SLURM=1 says that it may be.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from slurm import Cluster

ROOT = Path(__file__).parents[2]
SHORT = (
    "experiment=ring",
    "generator.width=8",
    "discriminator.width=8",
    "data.num_train=200",
    "data.batch_size=12",
    "metrics=none",
    "callbacks.sample_grid=null",
    "callbacks.last_checkpoint.every_n_train_steps=1000000",
    "hydra.launcher.cpus_per_task=1",
)
PATIENCE = 240  # seconds, on a machine that is busy with other work

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("GAN_GRADFLOW_TEST_SLURM") != "1",
        reason="starts a SLURM cluster; set GAN_GRADFLOW_TEST_SLURM=1 to let it",
    ),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("slurm") / "cluster") as started:
        started.environment |= {
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        yield started


def submit(cluster, folder, *arguments: str) -> subprocess.Popen:
    """`gan-gradflow train -m cluster=slurm`, which waits for its jobs."""
    return subprocess.Popen(
        ["gan-gradflow", "train", "-m", "cluster=slurm", *SHORT, *arguments],
        cwd=folder,
        env=cluster.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def logged(folder: Path) -> str:
    file = folder / "train.log"
    return file.read_text() if file.exists() else ""


def test_a_sweep_is_an_array_of_jobs(cluster, tmp_path) -> None:
    sweep = submit(cluster, tmp_path, "max_iterations=3", "seed=1,2", "run_name=sweep")
    printed, _ = sweep.communicate(timeout=PATIENCE)
    assert sweep.returncode == 0, printed
    for number in range(2):
        folder = tmp_path / "outputs" / "sweep" / str(number)
        summary = json.loads((folder / "summary.json").read_text())
        assert (summary["finished"], summary["iterations"]) == (True, 3)
        assert summary["seed"] == number + 1


def test_a_preempted_job_on_two_nodes_finishes_in_its_folder(cluster, tmp_path) -> None:
    run = submit(
        cluster,
        tmp_path,
        "max_iterations=200",
        "hydra.launcher.nodes=2",
        "run_name=preempted",
        "callbacks.progress.every_n_seconds=0.2",
    )
    folder = tmp_path / "outputs" / "preempted" / "0"
    cluster.wait(lambda: "iteration" in logged(folder), "training", PATIENCE)
    number = cluster.call("squeue", "-h", "-o", "%i")
    cluster.call("scancel", "--signal=USR1", number)
    cluster.wait(
        lambda: cluster.job(number)["Restarts"] == "1", "second start", PATIENCE
    )
    cluster.wait(
        lambda: cluster.job(number)["JobState"] == "PENDING", "requeued job", PATIENCE
    )
    # SLURM itself waits two minutes. A job that starts again in the second in which it
    # was killed is taken for killed: credentials are revoked by whole seconds.
    cluster.call("scontrol", "update", f"JobId={number}", "StartTime=now+3seconds")
    printed, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, printed
    log = logged(folder)
    stopped = re.search(r"SIGUSR1: stopping after iteration (\d+)", log)
    assert stopped
    assert f"going on after iteration {stopped[1]}" in log
    assert log.count("2 processes, 6 of 12 samples each") == 2
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["finished"], summary["iterations"]) == (True, 200)
    assert len(list((tmp_path / "outputs").iterdir())) == 1
    assert len(list((folder / "tensorboard").parent.glob("tensorboard*"))) == 1


def test_a_batch_file_runs_on_two_nodes_in_a_folder_named_after_the_job(
    cluster, tmp_path
) -> None:
    number, job = finished(
        cluster,
        *("--nodes=2", "--cpus-per-task=1", f"--chdir={tmp_path}"),
        str(ROOT / "scripts" / "job.sbatch"),
        *(word for word in SHORT if not word.startswith("hydra.")),
        "max_iterations=3",
    )
    printed = (tmp_path / f"slurm-{number}.out").read_text()
    assert job["ExitCode"] == "0:0", printed
    folder = tmp_path / "outputs" / f"job_{number}"
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["finished"], summary["iterations"]) == (True, 3)


def test_tasks_without_srun_fail_at_once(cluster, tmp_path) -> None:
    wrong = ("--wrap", "gan-gradflow train trainer=ddp")
    _, job = finished(cluster, "--ntasks=2", f"--output={tmp_path}/out", *wrong)
    assert job["ExitCode"] == "2:0"
    assert "put srun before the command" in (tmp_path / "out").read_text()


def finished(cluster, *arguments: str) -> tuple[str, dict[str, str]]:
    """A job that was given to sbatch, when it has ended: its number, what is known."""
    number = cluster.call("sbatch", "--parsable", *arguments)
    ended = ("COMPLETED", "FAILED")
    cluster.wait(lambda: cluster.job(number)["JobState"] in ended, "end", PATIENCE)
    return number, cluster.job(number)
