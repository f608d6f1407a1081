"""`gan-gradflow compare`: no finished run is trained again, and none is lost."""

import json
import re
from pathlib import Path

import pytest
from hydra import compose as composed
from hydra import initialize_config_dir
from omegaconf import OmegaConf
from short_run import BRIEF

from gan_gradflow.cli import CONFIG_DIR
from gan_gradflow.cli import compare as command
from gan_gradflow.cli.jobs import Job, JobRunner
from gan_gradflow.cli.train import RUN
from gan_gradflow.reports import comparison_page

TINY = ("experiment=ring", *BRIEF)
TWO = ("bridges=[exact,finite_difference]", "seeds=[1]")


@pytest.fixture
def compare(cli):
    def run(*arguments: str):
        return cli("compare", *TINY, *arguments)

    return run


class Recorded(JobRunner):
    """Starts nothing: leaves what a run would leave, or fails as `codes` say."""

    jobs: list[Job]
    codes: dict[str, int]

    def run(self, jobs, ended) -> None:
        type(self).jobs = jobs
        for job in jobs:
            code = self.codes.get(job.name, 0)
            if code == 0:
                leave_finished(job.command)
            job.output.parent.mkdir(parents=True, exist_ok=True)
            job.output.write_text("what went wrong\n" if code else "\n")
            ended(job, code)


def leave_finished(arguments) -> None:
    """What the command would leave: composed as `train` composes it, without training."""
    overrides = [a for a in arguments[4:] if not a.startswith("hydra.")]
    (place,) = [a for a in arguments if a.startswith("hydra.run.dir=")]
    folder = Path(place.partition("=")[2].strip("'"))
    cfg = composed("train", overrides)
    cfg.run_dir, cfg.run_overrides = str(folder), overrides
    config = command.validate(cfg, command.OF_TRAIN)
    config = {key: node for key, node in config.items() if key in RUN}
    folder.mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
    line = {"iteration": 4, "queries": 80, "seconds": 1.0, "cpu_seconds": 1.0}
    figures = {"modes": 8.0, "cell_kl": 0.25 * config["seed"]}
    (folder / "quality.jsonl").write_text(
        json.dumps({**line, "figures": figures}) + "\n"
    )
    summary = {
        "finished": True,
        "iterations": 4,
        "queries": 80,
        "primary": "cell_kl",
        "quality": figures,
        "floor": figures,
        "machine": {"device": "cpu", "threads": 1, "torch": "2"},
    }
    (folder / "summary.json").write_text(json.dumps(summary))


def draw_nothing(path: Path, *_) -> Path:
    """A picture that takes no time."""
    path.write_bytes(b"PNG")
    return path


@pytest.fixture
def recorded(monkeypatch):
    """No process is started; the jobs that would run are kept."""
    Recorded.jobs, Recorded.codes = [], {}
    monkeypatch.setattr(command, "JobRunner", Recorded)
    monkeypatch.setattr(comparison_page, "draw_curves", draw_nothing)
    return Recorded


def names(recorded) -> list[str]:
    return [job.name for job in recorded.jobs]


def summaries(tmp_path) -> list:
    return sorted((tmp_path / "outputs/compare/runs").glob("*/*/summary.json"))


def test_a_variant_may_choose_another_option_than_the_experiment(
    compare, recorded
) -> None:
    result = compare("bridges=[]", "seeds=[1]", '+variants.r0=["penalty=none"]')
    assert result.code == 0, result.err
    assert names(recorded) == ["r0, seed 1"]


def test_every_bridge_is_trained_with_every_seed_and_budget(compare, recorded) -> None:
    result = compare("bridges=[exact]", "seeds=[1,2]", "budgets=[null,1000]")
    assert result.code == 0, result.err
    assert names(recorded) == [
        *["exact, seed 1", "exact, seed 2"],
        *["exact, 1,000 queries, seed 1", "exact, 1,000 queries, seed 2"],
    ]
    assert "critic.budget=1000" in recorded.jobs[2].command
    assert "0.375" in result.out  # the mean of .25 and .5


def test_what_is_finished_is_not_run_again(compare, recorded, tmp_path) -> None:
    compare(*TWO)
    files = {path: path.stat().st_mtime_ns for path in summaries(tmp_path)}
    assert len(files) == 2
    result = compare("bridges=[exact,finite_difference]", "seeds=[1,2]")
    assert names(recorded) == ["exact, seed 2", "finite_difference, seed 2"]
    assert "of which 2 are done" in result.out
    assert all(path.stat().st_mtime_ns == when for path, when in files.items())


def test_another_configuration_is_another_run(compare, recorded, tmp_path) -> None:
    compare(*TWO)
    compare(*TWO, "generator.width=8")
    assert len(names(recorded)) == 2
    assert len(summaries(tmp_path)) == 4


def test_an_unfinished_run_goes_on_from_its_checkpoint(
    compare, recorded, tmp_path
) -> None:
    compare(*TWO)
    path = next(p for p in summaries(tmp_path) if "exact" in str(p))
    path.write_text(path.read_text().replace('"finished": true', '"finished": false'))
    (path.parent / "checkpoints").mkdir()
    (path.parent / "checkpoints" / "last.ckpt").touch()
    recorded.codes = {"exact, seed 1": 1}
    compare(*TWO)
    (job,) = recorded.jobs
    assert job.command[-1] == f"resume='{path.parent}'"


def test_a_run_that_fails_is_named_and_the_others_are_kept(
    compare, recorded, tmp_path
) -> None:
    recorded.codes = {"exact, seed 1": 1}
    result = compare(*TWO)
    assert result.code == 1
    assert "1 of 2 runs are done; exact, seed 1: what went wrong" in result.err
    page = (tmp_path / "outputs/compare/report.html").read_text()
    assert "Runs that did not finish" in page
    recorded.codes = {}
    assert compare(*TWO).code == 0
    assert names(recorded) == ["exact, seed 1"]


def test_variants_compare_anything(compare, recorded) -> None:
    result = compare("bridges=[]", "seeds=[1]", '+variants.a=["objective=hinge"]')
    assert result.code == 0, result.err
    assert names(recorded) == ["a, seed 1"]
    assert "objective=hinge" in recorded.jobs[0].command


def test_a_launcher_gets_all_seeds_of_a_bridge_at_once(compare, recorded) -> None:
    recorded.codes = {"exact": 1, "spsa": 1}
    settings = ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5")
    compare("bridges=[exact,spsa]", "seeds=[1,2]", *settings)
    assert names(recorded) == ["exact", "spsa"]
    sent = recorded.jobs[0].command
    assert {"-m", "seed=1,2", "hydra.sweep.subdir=seed${seed}", *settings} <= set(sent)


def test_existing_runs_are_reported_on_without_training(
    compare, cli, recorded, tmp_path
) -> None:
    compare(*TWO)
    recorded.jobs = []
    result = cli("compare", "runs=[outputs/compare]", "run_name=again")
    assert result.code == 0, result.err
    assert not recorded.jobs
    page = (tmp_path / "outputs/again/report.html").read_text()
    assert re.search("finite_difference", page)


def test_what_compare_shows_is_what_train_does() -> None:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        shown, done = (
            OmegaConf.to_container(composed(n)) for n in ("compare", "train")
        )
    keys = RUN.keys() - {"run_name", "run_dir"}
    assert {k: shown.get(k) for k in keys} == {k: done.get(k) for k in keys}


CASES = {
    "unknown bridge": (["bridges=[exat]"], ["'exat'", "did you mean exact?"]),
    "bridge": (["bridge=spsa"], ["bridge", "bridges=[...]"]),
    "seed": (["seed=3"], ["seed", "seeds=[...]"]),
    "no seeds": (["seeds=[]"], ["seeds", "[]"]),
    "twice": (["seeds=[1,1]"], ["seeds", "[1, 1]"]),
    "no jobs": (["jobs=0"], ["jobs", "0", "try 2"]),
    "nothing": (["bridges=[]"], ["nothing to compare"]),
    "unknown key": (["sedes=[1]"], ["sedes", "did you mean seed"]),
    "wrong type": (["seeds=[a]"], ["seeds", "a", "int"]),
    "variant": (["+variants.few=spsa"], ["variants.few", "list of overrides"]),
    "name of a bridge": (['+variants.exact=["n_critic=2"]'], ["variants.exact"]),
    "override of a variant": (['+variants.few=["n_critc=2"]'], ["few", "n_critc"]),
    "different data": (
        ['+variants.wide=["data.sigma=0.1"]'],
        ["wide", "sigma", "data"],
    ),
    "different measures": (
        ['+variants.more=["metrics.num_samples=300"]'],
        ["more", "num_samples"],
    ),
    "missing runs": (["runs=[nowhere]"], ["runs", "nowhere"]),
    "no runs": (["runs=[.]"], ["runs", "summary.json"]),
}


@pytest.mark.parametrize(("overrides", "told"), CASES.values(), ids=CASES)
def test_bad_input_is_one_clear_message(
    compare, recorded, tmp_path, overrides, told
) -> None:
    result = compare(*overrides)
    assert result.code == 2
    for part in told:
        assert part in result.err
    assert "Traceback" not in result.err
    assert len(result.err.strip().splitlines()) <= 6
    assert not recorded.jobs
    assert not list((tmp_path / "outputs").glob("*/*"))


def test_a_folder_that_holds_another_run_is_left_alone(
    compare, recorded, tmp_path
) -> None:
    compare(*TWO)
    file = summaries(tmp_path)[0].with_name("config.yaml")
    file.write_text(file.read_text().replace("n_critic: 1", "n_critic: 2"))
    result = compare(*TWO)
    assert result.code == 2
    assert "another configuration" in result.err


@pytest.mark.parametrize("text", ["", "a: [", "a: 1"])
def test_a_damaged_configuration_is_named(compare, recorded, tmp_path, text) -> None:
    compare(*TWO)
    summaries(tmp_path)[0].with_name("config.yaml").write_text(text)
    result = compare(*TWO)
    assert result.code == 2
    assert "config.yaml cannot be read" in result.err
    assert "move the folder away" in result.err


@pytest.mark.slow
def test_an_interrupted_comparison_goes_on_to_the_same_end(compare, tmp_path) -> None:
    result = compare(*TWO)
    assert result.code == 0, result.err
    first = json.loads((tmp_path / "outputs/compare/report.json").read_text())
    folder = summaries(tmp_path)[1].parent
    (folder / "summary.json").unlink()
    (folder / "checkpoints" / "last.ckpt").unlink()  # previous.ckpt is of iteration 2
    result = compare(*TWO)
    assert result.code == 0, result.err
    assert result.out.count("started") == 1
    again = json.loads((tmp_path / "outputs/compare/report.json").read_text())
    for one, other in zip(first["runs"], again["runs"], strict=True):
        assert one["quality"] == other["quality"]
        assert [p["iteration"] for p in other["points"]] == [2, 4]
