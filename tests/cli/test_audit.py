"""`gan-gradflow audit`: a report in three forms and an exit code."""

import json

import pytest

from gan_gradflow.cli import CONFIG_DIR

BRIDGES = {path.stem for path in (CONFIG_DIR / "bridge").glob("*.yaml")}
SHORT = (
    "experiment=ring",
    "generator.width=16",
    "generator.depth=1",
    "discriminator.width=16",
    "discriminator.depth=1",
    "data.num_train=100",
    "data.batch_size=20",
    "num_samples=8",
    "total_queries=16",
    "query_counts=[4,8]",
    "run_name=audited",
)


@pytest.fixture
def audit(cli):
    """Audits a small GAN on the ring."""
    return lambda *arguments: cli("audit", *SHORT, *arguments)


@pytest.fixture
def report(tmp_path):
    """The JSON of the audit that ran."""
    path = tmp_path / "outputs/audited/audit.json"
    return lambda: json.loads(path.read_text())


def tables(report: dict, section: str) -> list[dict]:
    return [table for table in report["tables"] if table["section"] == section]


def test_a_gan_that_is_right_leaves_a_page_and_exit_code_0(audit, report, tmp_path):
    result = audit()
    assert result.code == 0, result.err
    assert "No violation" in result.out
    assert "audited/audit.html" in result.out
    assert {t["section"] for t in report()["tables"]} == {
        "Phases",
        "Direction",
        "Information",
        "Fidelity",
        "Health",
    }
    html = (tmp_path / "outputs/audited/audit.html").read_text()
    assert html.count("data:image/svg+xml") == 3


def test_a_violation_leaves_with_exit_code_1_and_says_where_to_read(audit, report):
    result = audit("optimizer.generator.lr=0.0")
    assert result.code == 1
    assert "1 violation, see" in result.err
    assert [
        f["code"] for f in report()["findings"] if f["severity"] == "violation"
    ] == ["no-update"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("experiment=avo_poisson",),
        (
            "experiment=oracle_sequences",
            "data.vocabulary=5",
            "data.event_shape=[5]",
            "data.num_train=100",
            "data.num_held_out=100",
        ),
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_is_drawn_or_simulated_raises_no_alarm(cli, report, arguments):
    result = cli("audit", *arguments, "num_samples=8", "run_name=audited")
    assert result.code == 0, result.err + result.out
    codes = [found["code"] for found in report()["findings"]]
    sequences = arguments[0] == "experiment=oracle_sequences"
    assert ("fidelity-not-measured" in codes) == sequences


@pytest.mark.slow
def test_all_bridges_are_measured_at_each_budget_or_left_out_with_a_reason(
    audit, report
):
    assert audit("bridges=all", "query_counts=[4,10]").code == 0
    found = tables(report(), "Fidelity")
    assert {row[0] for table in found for row in table["rows"]} == BRIDGES
    counts = {(row[0], row[1]) for row in found[0]["rows"]}
    assert counts >= {("spsa", 4.0), ("spsa", 10.0), ("score_function", 10.0)}


def test_a_checkpoint_brings_its_configuration_and_weights(
    train, cli, report, tmp_path
):
    assert train("bridge=spsa").code == 0
    path = tmp_path / "outputs/short/checkpoints/last.ckpt"
    few = ("num_samples=8", "total_queries=16", "query_counts=[4]", "run_name=audited")
    result = cli("audit", f"checkpoint={path}", *few)
    assert result.code == 0, result.err
    assert {row[0] for row in tables(report(), "Fidelity")[0]["rows"]} == {"spsa"}
    assert str(path) in (tmp_path / "outputs/audited/audit.html").read_text()


def test_a_checkpoint_is_audited_with_another_bridge(train, cli, report, tmp_path):
    train()
    path = tmp_path / "outputs/short/checkpoints/last.ckpt"
    few = ("num_samples=8", "total_queries=16", "query_counts=[4]", "run_name=audited")
    assert cli("audit", f"checkpoint={path}", *few, "bridge=spsa").code == 0
    ranged = ("bridge=finite_difference", "bridge/directions=range")
    result = cli("audit", f"checkpoint={path}", *few, *ranged, "run_name=ranged")
    assert result.code == 0, result.err
    result = cli("audit", f"checkpoint={path}", *few, "+bridge.foo=1")
    assert result.code == 2
    assert "there is no key bridge.foo" in result.err
    assert {row[0] for row in tables(report(), "Fidelity")[0]["rows"]} == {"spsa"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("bridges=[spsa,exakt]",), "there is no 'exakt'; did you mean exact?"),
        (("num_samples=50",), "data.batch_size 20"),
        (("total_queries=0",), "total_queries must be at least 2"),
        (("query_counts=[0]",), "query_counts must be at least 1"),
        (("checkpoint=nowhere.ckpt",), "there is no checkpoint nowhere.ckpt"),
        (("resume=outputs",), "audit a run with checkpoint="),
        (("bridge=exact", "critic.access=scores"), "needs the critic's gradient"),
        (("bridgs=all",), "did you mean bridge"),
    ],
)
def test_bad_input_is_told_before_any_work(audit, tmp_path, arguments, told):
    result = audit(*arguments)
    assert result.code == 2
    assert told in result.err
    assert "Traceback" not in result.err
    assert not (tmp_path / "outputs/audited").exists()
