"""The report says what was expected, what was seen, and is safe to read by machine."""

import json

import pytest
import torch
from bugs import fakes_are_not_detached, generator_minimises_the_score
from loops import Loop

from gan_gradflow.audit import AuditReport, Severity, Table


@pytest.fixture(scope="module")
def clean() -> AuditReport:
    torch.manual_seed(0)
    return Loop().audit()


def table(report: AuditReport, title: str) -> list[dict]:
    found = next(t for t in report.tables if t.title.startswith(title))
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def test_a_clean_report_is_ok_and_says_so(clean):
    assert clean.ok
    assert "No violation" in str(clean)


def test_a_violation_fails_the_report_and_is_printed_with_its_cause():
    report = fakes_are_not_detached().audit()
    assert not report.ok
    assert "missing-detach" in str(report)
    assert "usual cause" in str(report)


def test_every_group_has_a_row_in_both_phases(clean):
    rows = table(clean, "Gradients")
    assert len(rows) == 2 * 5
    own = [row for row in rows if row["expected"] == "gradient"]
    assert all(row["seen (norm)"] > 0 for row in own)


def test_a_leak_is_marked_in_the_row_where_it_was_seen():
    rows = table(fakes_are_not_detached().audit(), "Gradients")
    marked = {(row["phase"], row["group"]) for row in rows if row["finding"]}
    groups = ("generator.0", "generator.1", "generator.3")
    assert marked == {("discriminator", group) for group in groups}


def test_the_first_order_prediction_of_a_clean_loop_comes_true(clean):
    ratios = [row["ratio"] for row in table(clean, "Direction")]
    assert ratios == pytest.approx([1.0, 1.0], abs=0.05)


def test_the_pushes_at_a_neutral_score_are_those_on_paper(clean):
    # -softplus'(-s) = -sigmoid(-s) for what should be real, sigmoid(s) for fakes
    up, down = torch.sigmoid(torch.tensor([0.5, -0.5])).tolist()
    rows = table(clean, "Direction")
    assert rows[0]["push on reals"] == pytest.approx(up, rel=1e-4)
    assert rows[0]["push on fakes"] == pytest.approx(-down, rel=1e-4)
    assert rows[1]["push on fakes"] == pytest.approx(up, rel=1e-4)


def test_the_wrong_sign_shows_in_the_table():
    rows = table(generator_minimises_the_score().audit(), "Direction")
    assert rows[1]["finding"] == "wrong-sign-generator"


def test_json_holds_findings_and_tables(clean):
    data = json.loads(clean.to_json())
    assert data["ok"] is True
    assert {t["title"] for t in data["tables"]} == {t.title for t in clean.tables}
    assert all(f["severity"] == "note" for f in data["findings"])


def test_numbers_that_json_lacks_become_strings():
    infinite = Table("T", ("x", "finding"), ((float("nan"), ""), (float("inf"), "")))
    rows = json.loads(AuditReport([], [infinite]).to_json())["tables"][0]["rows"]
    assert rows == [["nan", ""], ["inf", ""]]


def test_a_long_table_prints_its_marked_rows_only():
    rows = tuple((f"row{i}", "bad" if i == 7 else "") for i in range(100))
    printed = str(AuditReport([], [Table("T", ("name", "finding"), rows)]))
    assert "row7" in printed
    assert "row8" not in printed


def test_codes_can_be_asked_by_severity(clean):
    assert clean.codes(Severity.VIOLATION) == []
    assert "gradient-in-other-phase" in clean.codes(Severity.NOTE)


def test_brackets_in_names_are_printed_as_they_are():
    odd = Table("T", ("name", "finding"), (("layer[0]", ""),))
    assert "layer[0]" in str(AuditReport([], [odd]))
