"""`gan-gradflow train resume=...`: k iterations, a kill and n - k more are n in one go."""

import json
import shutil
from pathlib import Path

import lightning as L
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gan_gradflow.cli import CONFIG_DIR
from gan_gradflow.reports.runs import read_run

BRIDGES = sorted(path.stem for path in (CONFIG_DIR / "bridge").glob("*.yaml"))
RUN = Path("outputs/short")


class Killed(L.Callback):
    """Copies the run folder as a kill at the end of an iteration would leave it."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def on_train_batch_end(self, trainer, module, *_) -> None:
        if trainer.global_step == self.iteration and not Path("killed").exists():
            shutil.copytree(trainer.default_root_dir, "killed")


KILLED = "+callbacks.killed={_target_: test_resume.Killed, iteration: 3}"
TRUST = "trust=[test_resume]"


def state(folder: Path) -> dict[str, object]:
    """All that a run came to, flat, without its place and what a clock put into it."""
    path = folder / "checkpoints" / "last.ckpt"
    contents = torch.load(path, weights_only=True)
    del contents["hyper_parameters"]
    flat = dict(leaves(contents, "", str(folder.absolute())))
    # The checks of shapes and types, which only tests run with, draw from Python's random.
    clocks = ("seconds", "cpu_seconds", "random/0/python", "seal")
    return {k: v for k, v in flat.items() if not any(c in k for c in clocks)}


def leaves(node, place: str, folder: str):
    if isinstance(node, (list, tuple)):
        node = dict(enumerate(node))
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{place}/{key}".replace(folder, ""), folder)
    elif isinstance(node, torch.Tensor):
        yield place, (node.dtype, node.shape, node.detach().numpy().tobytes())
    else:
        yield place, node.replace(folder, "") if isinstance(node, str) else node


def differing(one: dict[str, object], other: dict[str, object]) -> list[str]:
    return [k for k in one.keys() | other.keys() if one.get(k) != other.get(k)]


@pytest.mark.parametrize("bridge", BRIDGES)
def test_a_run_that_was_killed_ends_as_if_it_had_not_been(train, cli, bridge) -> None:
    """Every weight, moment, buffer, generator and callback, to the last bit."""
    assert train(f"bridge={bridge}", "penalty=r1", "max_iterations=6", KILLED).code == 0
    result = cli("train", "resume=killed", TRUST)
    assert result.code == 0, result.err
    assert "going on after iteration 2" in result.out
    assert differing(state(Path("killed")), state(RUN)) == []


def test_adaptive_queries_and_what_watches_them_go_on_as_well(train, cli) -> None:
    options = (
        "bridge=finite_difference",
        "queries=adaptive",
        "queries.snr=100",
        "queries.warm_up=0",
        "queries.every_n_iterations=2",
        "callbacks.gradient_flow.every_n_iterations=1",
        "callbacks.collapse_alarm.every_n_iterations=1",
        "callbacks.collapse_alarm.warm_up=0",
    )
    assert train(*options, "max_iterations=6", KILLED).code == 0
    assert cli("train", "resume=killed", TRUST).code == 0
    assert differing(state(Path("killed")), state(RUN)) == []
    weights = torch.load(RUN / "checkpoints/last.ckpt", weights_only=True)
    assert weights["state_dict"]["query_plan.num_draws"] > 4


def test_the_record_of_a_run_that_was_killed_is_that_of_one_in_one_go(
    train, cli
) -> None:
    train("max_iterations=6", KILLED)
    cli("train", "resume=killed", TRUST)
    runs = [
        EventAccumulator(str(f / "tensorboard")).Reload() for f in (RUN, Path("killed"))
    ]
    tags = [t for t in runs[0].Tags()["scalars"] if not t.startswith("speed/")]
    assert tags
    for tag in tags:
        whole, parts = (
            str([(e.step, e.value) for e in run.Scalars(tag)]) for run in runs
        )
        assert parts == whole, tag
    summaries = [
        json.loads((f / "summary.json").read_text()) for f in (RUN, Path("killed"))
    ]
    for key in ("iterations", "queries", "quality", "floor"):
        assert summaries[0][key] == summaries[1][key]
    assert not list(Path("outputs").glob("2*"))  # no folder beside that of the run


def test_the_time_of_a_run_is_that_of_all_its_parts(train, cli, tmp_path) -> None:
    summary = tmp_path / "outputs/short/summary.json"
    assert train().code == 0
    before = json.loads(summary.read_text())["seconds"]
    longer = ("max_iterations=5", "allow_changes=true")
    assert cli("train", f"resume={summary.parent}", *longer).code == 0
    assert json.loads(summary.read_text())["seconds"] > before


def test_a_change_that_the_state_does_not_fit_leaves_the_run_as_it_was(
    train, tmp_path
) -> None:
    assert train().code == 0
    folder = tmp_path / "outputs/short"
    kept = ("config.yaml", "checkpoints/last.ckpt")
    before = [(folder / name).read_bytes() for name in kept]
    changed = ("generator.width=5", "max_iterations=6", "allow_changes=true")
    result = train(f"resume={folder}", *changed)
    assert result.code == 2
    assert "does not fit its configuration" in result.err
    assert [(folder / name).read_bytes() for name in kept] == before


@pytest.mark.parametrize("resume", ["resume", "++resume"])
@pytest.mark.parametrize("named", ["run_name=", "++run_name="])
def test_a_run_that_goes_on_keeps_its_name(train, cli, tmp_path, resume, named) -> None:
    assert train("run_name='my run'").code == 0
    resume = f"{resume}='outputs/my run'"
    result = cli("train", resume, f"{named}other")
    assert result.code == 2
    assert "run_name is other, and a run goes on in its own folder" in result.err
    assert cli("train", resume, f"{named}'my run'").code == 0
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["my run"]


def test_an_empty_folder_that_is_no_run_is_left_as_it_was(cli, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    assert cli("train", "++resume=empty").code == 2
    assert (tmp_path / "empty").is_dir()


def test_what_a_run_changes_to_is_what_it_is_called_and_changes_from(
    train, cli
) -> None:
    assert train("bridge=exact").code == 0
    go_on = ("train", f"resume={RUN}", "allow_changes=true")
    changes = ("bridge=finite_difference", "average_decay=0.5")
    result = cli(*go_on, *changes, "max_iterations=5")
    assert result.code == 0, result.err
    assert "run_overrides" not in result.out
    assert read_run(RUN).label == "finite_difference"
    result = cli(*go_on, "average_decay=0.995", "max_iterations=6")
    assert result.code == 0, result.err
    assert read_run(RUN).label == "finite_difference"
    assert read_run(RUN).config["average_decay"] == 0.995


def test_on_slurm_checkpoints_are_as_durable_as_elsewhere(
    train, tmp_path, monkeypatch
) -> None:
    alone = {"NTASKS": 1, "NTASKS_PER_NODE": 1, "NNODES": 1, "PROCID": 0, "LOCALID": 0}
    named = {"JOB_ID": 77, "JOB_NAME": "job", "NODEID": 0, "NODELIST": "localhost"}
    for name, value in {**alone, **named, "STEP_ID": 0}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    assert train("callbacks.last_checkpoint.every_n_train_steps=1").code == 0
    assert (tmp_path / "outputs/short/checkpoints/previous.ckpt").exists()


@pytest.mark.parametrize(
    "given",
    ["outputs/a/checkpoints/last.ckpt", "outputs/nope", "outputs/a/checkpoints"],
)
def test_the_run_that_was_meant_is_offered(cli, tmp_path, given) -> None:
    (tmp_path / "outputs/a/checkpoints").mkdir(parents=True)
    (tmp_path / "outputs/a/checkpoints/last.ckpt").touch()
    result = cli("train", f"resume={given}")
    assert result.code == 2
    assert given in result.err
    assert "resume=" in result.err
    assert result.err.endswith("outputs/a\n")
