"""`gan-gradflow train`: what it leaves behind, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import lightning as L
import pytest
import torch
from hydra.utils import get_class
from omegaconf import OmegaConf
from short_run import SHORT
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gan_gradflow.callbacks.quality_record import QualityRecord
from gan_gradflow.callbacks.tensorboard_pages import MAIN_FIGURES
from gan_gradflow.cli import CONFIG_DIR

ROOT = Path(__file__).parents[2]
BRIDGES = sorted(path.stem for path in (CONFIG_DIR / "bridge").glob("*.yaml"))


def test_a_run_leaves_everything_in_its_folder(train, tmp_path) -> None:
    result = train()
    assert result.code == 0, result.err
    folder = tmp_path / "outputs" / "short"
    for name in (
        "config.yaml",
        "summary.json",
        "train.log",
        "checkpoints/last.ckpt",
        "checkpoints/best.ckpt",
        "samples/reals.png",
        "samples/iteration_0000002_raw.png",
        "samples/iteration_0000004_averaged.png",
    ):
        assert (folder / name).stat().st_size > 0, name


def test_a_named_folder_is_the_only_one(train, tmp_path) -> None:
    assert train("run_dir=there").code == 0
    for here in ("run_dir=here", "run_dir='one here'", "++run_dir=here"):
        assert train(here, "max_iterations=0").code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_the_summary_says_what_the_run_did(train, tmp_path) -> None:
    result = train()
    summary = json.loads((tmp_path / "outputs/short/summary.json").read_text())
    assert (summary["iterations"], summary["queries"]) == (4, 80)
    assert summary["finished"] is True
    assert summary["quality"].keys() == summary["floor"].keys()
    assert "reverse kl" in result.out
    assert "critic queries" in result.out


def test_the_quality_is_kept_beside_iterations_queries_and_seconds(
    train, tmp_path
) -> None:
    train("bridge=finite_difference", "bridge.directions.num_directions=3")
    folder = tmp_path / "outputs/short"
    points = QualityRecord(folder / "quality.jsonl").read()
    assert [(p.iteration, p.queries) for p in points] == [(2, 160), (4, 320)]
    assert 0 < points[0].seconds < points[1].seconds
    summary = json.loads((folder / "summary.json").read_text())
    assert points[1].figures == summary["quality"]


def test_what_a_run_takes_is_kept_where_nothing_is_measured(cli, tmp_path) -> None:
    short = [o for o in SHORT if not o.startswith("metrics.")]
    result = cli("train", "experiment=ring", "metrics=none", *short)
    assert result.code == 0, result.err
    points = QualityRecord(tmp_path / "outputs/short/quality.jsonl").read()
    assert [(p.iteration, p.figures) for p in points] == [(2, {}), (4, {})]
    assert points[1].cpu_seconds > points[0].cpu_seconds > 0


def test_the_quality_is_measured_when_the_budget_is_spent(train, tmp_path) -> None:
    train("critic.budget=70")  # three iterations of 20 queries
    points = QualityRecord(tmp_path / "outputs/short/quality.jsonl").read()
    assert [(p.iteration, p.queries) for p in points] == [(2, 40), (3, 60)]


def test_tensorboard_shows_the_gradient_crossing_the_bridge(train, tmp_path) -> None:
    train()
    events = EventAccumulator(str(tmp_path / "outputs/short/tensorboard")).Reload()
    steps = [event.step for event in events.Scalars("pull/norm")]
    assert steps == [1, 2, 3, 4]
    assert {
        "loss/generator",
        "loss/discriminator",
        "loss/penalty",
        "scores/reals",
        "scores/fakes",
        "gradient_norm/generator",
        "gradient_norm/discriminator",
        "critic/queries",
        "speed/iterations_per_second",
        "quality/reverse_kl",
        "quality_floor/reverse_kl",
    } <= set(events.Tags()["scalars"])
    assert set(events.Tags()["images"]) == {"reals", "fakes/raw", "fakes/averaged"}
    assert "custom_scalars__config__" in events.Tags()["tensors"]
    assert "_hparams_/experiment" in events.summary_metadata
    assert [e.step for e in events.Scalars("quality/cell_kl")] == [2, 4]


def test_a_run_that_is_shorter_than_the_interval_logs_once(train, tmp_path) -> None:
    result = train("trainer.log_every_n_steps=25")
    assert (result.code, result.err) == (0, "")
    events = EventAccumulator(str(tmp_path / "outputs/short/tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss/generator")] == [4]


def test_every_run_has_a_column_for_the_main_figure_of_any_other() -> None:
    """TensorBoard takes the columns from whichever run it reads first."""
    targets = [OmegaConf.load(p)._target_ for p in CONFIG_DIR.glob("metrics/*.yaml")]
    figures = {get_class(target).primary for target in targets} - {None}
    assert figures <= set(MAIN_FIGURES)
    assert len(figures) > 4


def test_without_a_logger_the_summary_is_there_all_the_same(train, tmp_path) -> None:
    assert train("logger=none").code == 0
    folder = tmp_path / "outputs/short"
    assert json.loads((folder / "summary.json").read_text())["finished"]
    assert not (folder / "tensorboard").exists()


def test_the_checkpoint_counts_iterations_and_loads_as_plain_data(
    train, tmp_path
) -> None:
    train("n_critic=2")
    path = tmp_path / "outputs/short/checkpoints/last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["global_step"] == 4
    assert checkpoint["gan_gradflow"]["queries"] == 80


@pytest.mark.parametrize("bridge", BRIDGES)
def test_every_bridge_trains(train, bridge) -> None:
    result = train(f"bridge={bridge}", "penalty=r1")
    assert result.code == 0, result.err


@pytest.mark.parametrize(
    "path", sorted((CONFIG_DIR / "experiment").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_experiment_says_how_to_run_it_and_composes(cli, path) -> None:
    command = f"gan-gradflow train experiment={path.stem}"
    assert command in path.read_text()
    assert cli("train", f"experiment={path.stem}", "--cfg", "job").code == 0


def test_a_sweep_gives_each_job_a_folder(train, tmp_path) -> None:
    result = train("-m", "seed=1,2", "bridge=exact,finite_difference")
    assert result.code == 0, result.err
    summaries = sorted((tmp_path / "outputs/short").glob("*/summary.json"))
    assert len(summaries) == 4
    read = [json.loads(path.read_text()) for path in summaries]
    assert [s["seed"] for s in read] == [1, 1, 2, 2]


def test_a_run_never_writes_into_another(train) -> None:
    train()
    result = train()
    assert result.code == 2
    assert "holds a run already" in result.err


def test_a_bridge_of_the_users_own_comes_from_config_dir(train, tmp_path) -> None:
    folder = tmp_path / "mine" / "bridge"
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text(
        "_target_: gan_gradflow.bridges.exact.ExactBridge\n"
    )
    result = train("--config-dir", "mine", "bridge=own")
    assert result.code == 0, result.err


def test_the_alarm_watches_a_packed_discriminator(cli) -> None:
    few = ("data.num_train=500", "data.num_held_out=50", "metrics.num_samples=200")
    often = (
        "trainer.log_every_n_steps=1",
        "callbacks.collapse_alarm.every_n_iterations=1",
    )
    packed = ("experiment=ring", "discriminator=packed_mlp", "max_iterations=2")
    result = cli("train", *packed, *few, *often)
    assert result.code == 0, result.err


def test_a_collapse_is_told_and_the_best_checkpoint_is_kept(train, tmp_path) -> None:
    alarm = "callbacks.collapse_alarm"
    often = (f"{alarm}.every_n_iterations=1", f"{alarm}.warm_up=0")
    result = train(
        *often, f"{alarm}.on_collapse=stop", "callbacks.quality.every_n_iterations=1"
    )
    folder = tmp_path / "outputs/short"
    summary = json.loads((folder / "summary.json").read_text())
    kept = folder / "checkpoints/best_before_0000003.ckpt"
    assert (result.code, summary["iterations"]) == (0, 3)
    assert f"kept {kept}" in summary["alarms"][0]
    assert torch.load(kept, weights_only=True)["global_step"] <= 2
    assert "collapse in iteration 3" in result.out


class StopAt(L.Callback):
    """Sends this process a signal at an iteration."""

    def __init__(self, iteration: int, number: int) -> None:
        self.iteration, self.number = iteration, number

    def on_train_batch_start(self, trainer, *_) -> None:
        if trainer.global_step == self.iteration:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, 143),
        (signal.SIGUSR1, 138),
        (signal.SIGUSR2, 140),
    ],
)
def test_a_signal_finishes_the_iteration_and_saves(
    train, tmp_path, number, code
) -> None:
    stop = f"{{_target_: test_train.StopAt, iteration: 2, number: {int(number)}}}"
    before = signal.getsignal(number)
    result = train(f"+callbacks.stop_at={stop}")
    path = tmp_path / "outputs/short/checkpoints/last.ckpt"
    assert result.code == code
    assert str(path) in result.err
    assert "Error executing job" not in result.err
    assert torch.load(path, weights_only=True)["global_step"] == 3
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_last_iteration_changes_nothing(train, number) -> None:
    stop = f"{{_target_: test_train.StopAt, iteration: 3, number: {int(number)}}}"
    assert train(f"+callbacks.stop_at={stop}").code == 0


def test_a_second_ctrl_c_does_not_wait_for_the_iteration(train, tmp_path) -> None:
    stop = "{_target_: test_train.StopAt, iteration: 2, number: 2}"
    result = train(f"+callbacks.a={stop}", f"+callbacks.b={stop}")
    path = tmp_path / "outputs/short/checkpoints/last.ckpt"
    assert result.code == 130
    assert "interrupted in iteration 3" in result.err
    assert str(path) in result.err
    assert torch.load(path, weights_only=True)["global_step"] == 2


class NaNCritic(torch.nn.Module):
    """Scores that are NaN from a call on."""

    def __init__(self, calls: int, width: int) -> None:
        super().__init__()
        self.layer, self.left = torch.nn.Linear(2, width), calls

    def forward(self, samples):
        self.left -= 1
        scores = self.layer(samples).mean(-1)
        return scores * (float("nan") if self.left < 0 else 1)


# The third generator phase: after the try-out, two calls of its discriminator phase, and
# two iterations of three calls (exact) or four (forward differences).
@pytest.mark.parametrize(("bridge", "calls"), [("exact", 9), ("finite_difference", 11)])
def test_a_critic_gone_wrong_ends_the_run_with_a_checkpoint(
    train, tmp_path, bridge, calls
) -> None:
    folder = tmp_path / "mine" / "discriminator"
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text(
        f"_target_: test_train.NaNCritic\ncalls: {calls}\nwidth: 1\n"
    )
    settings = ("penalty=r1", "objective=nonsaturating", "critic.chunk_size=null")
    result = train(
        "--config-dir", "mine", "discriminator=own", f"bridge={bridge}", *settings
    )
    path = tmp_path / "outputs/short/checkpoints/last.ckpt"
    assert result.code == 1
    assert "iteration 3" in result.err
    assert "nan" in result.err.lower()
    assert torch.load(path, weights_only=True)["global_step"] == 2
    assert (tmp_path / "outputs/short/summary.json").exists()


def test_an_iteration_that_is_not_finite_can_be_skipped(train, tmp_path) -> None:
    folder = tmp_path / "mine" / "discriminator"
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text(
        "_target_: test_train.NaNCritic\ncalls: 9\nwidth: 1\n"
    )
    settings = ("penalty=r1", "objective=nonsaturating", "on_nonfinite=skip")
    result = train("--config-dir", "mine", "discriminator=own", *settings)
    assert result.code == 0, result.err
    assert "skipped iterations" in result.out
    summary = json.loads((tmp_path / "outputs/short/summary.json").read_text())
    assert (summary["iterations"], summary["skipped"]) == (4, 2)
    events = EventAccumulator(str(tmp_path / "outputs/short/tensorboard")).Reload()
    counted = [e.value for e in events.Scalars("nonfinite/skipped_iterations")]
    assert counted == [0, 0, 1, 2]


@pytest.mark.slow
def test_the_main_job_runs_on_the_embedded_digits(cli, tmp_path) -> None:
    short = (
        "max_iterations=2",
        "trainer.log_every_n_steps=1",
        "metrics.num_samples=500",
    )
    result = cli("train", "run_name=main", *short)
    assert result.code == 0, result.err
    summary = json.loads((tmp_path / "outputs/main/summary.json").read_text())
    assert summary["quality"]["frechet_distance"] > summary["floor"]["frechet_distance"]


@pytest.mark.slow
def test_the_script_for_torchrun_is_the_command(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "train.py", "--cfg", "job"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0
    assert "n_critic: 1" in done.stdout
