"""Runs side by side: means with their errors, and only what compares."""

import pytest
from folders import DATA, METRICS, leave_run
from torch.utils.tensorboard import SummaryWriter

from gan_gradflow.reports.comparison import Comparison, mean_of
from gan_gradflow.reports.runs import ReportError, find_runs, read_run


@pytest.fixture
def runs(tmp_path):
    """Two seeds of exact, one of spsa."""
    leave_run(tmp_path / "a", seed=1, distances=(3.0, 2.0))
    leave_run(tmp_path / "b", seed=2, distances=(5.0, 4.0, 1.0))
    leave_run(tmp_path / "c", bridge="spsa", distances=(6.0, 5.0))
    return [read_run(tmp_path / name) for name in "abc"]


def test_the_mean_has_the_standard_error_of_its_runs() -> None:
    mean = mean_of([1.0, 2.0, 6.0])
    assert (mean.value, mean.error) == (3, pytest.approx((7 / 3) ** 0.5))
    assert mean_of([2.0]) == (2, None)
    assert mean_of([]) is None
    assert (str(mean), str(mean_of([2.0]))) == ("3 ± 1.5", "2")


def test_labels_are_bridges_and_figures_start_with_the_main_one(runs) -> None:
    comparison = Comparison(runs)
    assert comparison.labels == ["exact", "spsa"]
    assert comparison.figures() == ["distance", "modes"]
    assert comparison.final("exact", "distance") == (1.5, 0.5)
    assert comparison.final("spsa", "distance") == (5, None)
    assert comparison.floor("distance") == 0.5


def test_a_curve_has_the_iterations_that_all_seeds_were_measured_at(runs) -> None:
    curve = Comparison(runs).curve("exact", "distance")
    assert [(p.iteration, p.queries, m.value) for p, m in curve] == [
        (2, 20, 4.0),
        (4, 40, 3.0),
    ]


def test_the_cost_is_that_of_the_last_measurement(runs) -> None:
    comparison = Comparison(runs)
    assert comparison.spent("exact", "queries").value == 50
    assert comparison.spent("spsa", "seconds").value == 3.0


def test_the_summary_counts_where_no_measurement_does(tmp_path) -> None:
    folder = leave_run(tmp_path / "a")
    (folder / "quality.jsonl").unlink()
    comparison = Comparison([read_run(folder)])
    assert comparison.spent("exact", "iteration").value == 4
    assert comparison.spent("exact", "queries").value == 40
    assert comparison.spent("exact", "seconds") is None


def test_fidelity_is_read_where_it_was_measured(tmp_path) -> None:
    leave_run(tmp_path / "a")
    with SummaryWriter(tmp_path / "a" / "tensorboard") as writer:
        for step, value in enumerate((0.0, 0.0, 0.25, 0.5)):
            writer.add_scalar("gradient_flow/pull_cosine", value, step)
        writer.add_scalar("gradient_flow/queries", 64.0, 0)
        writer.add_scalar("loss/generator", 1.0, 0)
    comparison = Comparison([read_run(tmp_path / "a")])
    assert comparison.fidelity("exact") == {"pull_cosine": (0.375, None)}


def test_a_figure_that_some_measurements_lack_is_no_mean_of_the_others(
    tmp_path,
) -> None:
    leave_run(tmp_path / "a")
    with SummaryWriter(tmp_path / "a" / "tensorboard") as writer:
        for step, ratio in enumerate((0.5, 0.25, 0.0, 0.25)):
            writer.add_scalar("gradient_flow/parameters_snr", ratio, step)
            if ratio:
                writer.add_scalar("gradient_flow/parameters_cosine", 0.5, step)
    comparison = Comparison([read_run(tmp_path / "a")])
    assert comparison.fidelity("exact") == {"parameters_snr": (0.125, None)}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"data": {**DATA, "sigma": 0.5}}, r"different data \(sigma 0.01 and 0.5\)"),
        ({"metrics": {**METRICS, "num_samples": 9}}, "num_samples 200 and 9"),
    ],
)
def test_runs_that_do_not_compare_are_refused(tmp_path, change, told) -> None:
    folders = [leave_run(tmp_path / "a"), leave_run(tmp_path / "b", **change)]
    with pytest.raises(ReportError, match=told):
        Comparison([read_run(folder) for folder in folders])


def test_other_seeds_and_batches_are_the_same_data(tmp_path) -> None:
    data = {**DATA, "seed": 7, "batch_size": 99, "num_iterations": 3}
    folders = [leave_run(tmp_path / "a"), leave_run(tmp_path / "b", data=data)]
    assert len(Comparison([read_run(folder) for folder in folders]).runs) == 2


def test_runs_are_found_in_folders_of_sweeps_once(tmp_path) -> None:
    for seed in (1, 2):
        leave_run(tmp_path / "sweep" / str(seed), seed=seed)
    found = find_runs([str(tmp_path / "sweep"), str(tmp_path / "sweep" / "1")])
    assert [run.config["seed"] for run in found] == [1, 2]
    assert {run.label for run in found} == {"exact"}


def test_a_run_is_called_by_the_bridge_that_was_typed(tmp_path) -> None:
    typed = {"run_overrides": ["bridge=exact", "seed=1", "bridge=spsa"]}
    folder = leave_run(tmp_path / "a", bridge="finite_difference", **typed)
    assert read_run(folder).label == "spsa"
    quoted = {"run_overrides": ["bridge=exact", "bridge='my spsa'"]}
    assert read_run(leave_run(tmp_path / "c", **quoted)).label == "my spsa"
    other = {"run_overrides": ["bridge={_target_: mine.Bridge}", "not one"]}
    assert read_run(leave_run(tmp_path / "d", **other)).label == "exact"
    assert read_run(leave_run(tmp_path / "b", bridge="lax")).label == "lax"


def test_two_settings_of_a_bridge_get_the_setting_into_the_label(tmp_path) -> None:
    for draws in (2, 4):
        node = {"_target_": "gan_gradflow.bridges.spsa.SPSABridge", "num_draws": draws}
        leave_run(tmp_path / str(draws), bridge=node)
    labels = [run.label for run in find_runs([str(tmp_path)])]
    assert labels == ["spsa bridge.num_draws=2", "spsa bridge.num_draws=4"]


def labels_of(folder, *changes):
    """The labels of runs with these changes."""
    for place, change in enumerate(changes):
        leave_run(folder / str(place), **change)
    return [run.label for run in find_runs([str(folder)])]


LIKELIHOOD = {"callbacks": {"likelihood": {"iterations": 2000}}}
STOP = {"callbacks": {"collapse_alarm": {"on_collapse": "stop", "patience": 3}}}


@pytest.mark.parametrize(
    ("first", "other", "told"),
    [
        ({}, LIKELIHOOD, ["", " callbacks.likelihood.iterations=2000"]),
        (
            {"trainer": {"precision": "32-true"}},
            {"trainer": {"precision": "bf16-mixed"}},
            [" trainer.precision=32-true", " trainer.precision=bf16-mixed"],
        ),
        (
            {},
            STOP,
            [
                "",
                " callbacks.collapse_alarm.on_collapse=stop"
                " callbacks.collapse_alarm.patience=3",
            ],
        ),
        ({}, {"penalty": None}, ["", " penalty=None"]),
        (
            {"penalty": None},
            {"penalty": "None"},
            [" penalty=None", " penalty=None (2)"],
        ),
    ],
)
def test_whatever_can_change_a_result_tells_runs_apart(tmp_path, first, other, told):
    assert labels_of(tmp_path, first, other) == [f"exact{words}" for words in told]


def test_four_words_and_a_number_tell_runs_apart(tmp_path) -> None:
    one = dict.fromkeys("abcdz", 1)
    labels = labels_of(tmp_path, one, one | {"z": 2}, one | dict.fromkeys("abcd", 2))
    assert labels == [
        "exact a=1 b=1 c=1 d=1",
        "exact a=1 b=1 c=1 d=1 (2)",
        "exact a=2 b=2 c=2 d=2",
    ]
    assert Comparison(find_runs([str(tmp_path)])).differences() == {"z": "1, 2, 1"}


def test_what_else_differs_between_labels_is_told(tmp_path) -> None:
    changes = {"width": 3, "depth": 1, "norm": "none", "act": "relu", "generator": 1}
    leave_run(tmp_path / "a", generator={"_target_": "nets.Plain", "width": 4})
    leave_run(
        tmp_path / "b",
        bridge="spsa",
        generator={"_target_": "nets.Conditional", "net": {"width": 4}},
        discriminator=changes,
        n_critic=2,
    )
    assert Comparison(find_runs([str(tmp_path)])).differences() == {
        "discriminator": "act none, relu; depth none, 1; generator none, 1; ...",
        "generator": "Plain, Conditional",
        "n_critic": "none, 2",
    }


def test_nothing_more_is_told_of_bridges_and_budgets_alone(tmp_path, runs) -> None:
    assert Comparison(runs[1:]).differences() == {"max_iterations": "6, 4"}
    budget = {"critic": {"budget": 9}, "bridge": "spsa"}
    folders = [leave_run(tmp_path / "x"), leave_run(tmp_path / "y", **budget)]
    labels = ("exact", "exact, 9 queries")
    pair = [read_run(f, label) for f, label in zip(folders, labels, strict=True)]
    assert Comparison(pair).differences() == {}


@pytest.mark.parametrize(
    "change",
    [
        {"trainer": {"devices": 2, "strategy": "ddp", "log_every_n_steps": 1}},
        {"callbacks": {"sample_grid": {"every_n_iterations": 1}}},
        {"callbacks": {"collapse_alarm": {"on_collapse": "continue", "patience": 1}}},
        {"logger": None, "run_name": "other", "callbacks": {}},
    ],
)
def test_what_cannot_change_a_result_is_left_out_of_labels(tmp_path, change) -> None:
    assert labels_of(tmp_path, {}, change) == ["exact", "exact"]


def test_what_follows_from_the_iterations_is_said_once(tmp_path) -> None:
    changes = [
        {
            "max_iterations": count,
            "trainer": {"max_steps": count},
            "data": {**DATA, "num_iterations": count},
        }
        for count in (4, 6)
    ]
    labels = labels_of(tmp_path, *changes, changes[0] | {"trainer": {"max_steps": 5}})
    assert labels == [
        "exact max_iterations=4",
        "exact max_iterations=6",
        "exact max_iterations=4 trainer.max_steps=5",
    ]


def test_a_folder_without_a_run_is_refused(tmp_path) -> None:
    with pytest.raises(ReportError, match=r"there is no folder .*nowhere"):
        find_runs([str(tmp_path / "nowhere")])
    with pytest.raises(ReportError, match=r"holds no summary\.json"):
        find_runs([str(tmp_path)])
    folder = leave_run(tmp_path / "a")
    with pytest.raises(ReportError, match=r"no folder .*nowhere; there is .*/a$"):
        find_runs([str(tmp_path / "nowhere")])
    (folder / "config.yaml").unlink()
    with pytest.raises(ReportError, match=r"has no config\.yaml"):
        find_runs([str(tmp_path)])
    (folder / "summary.json").write_text("{")
    with pytest.raises(ReportError, match="cannot be read as a run"):
        find_runs([str(tmp_path)])


def test_nothing_to_compare_is_said() -> None:
    with pytest.raises(ReportError, match="no finished run"):
        Comparison([])
