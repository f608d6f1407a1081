"""A comparison's report is one file that holds everything, and the same in Markdown."""

import json
import re

import pytest
from folders import leave_run
from matplotlib.figure import Figure
from PIL import Image

from gan_gradflow.reports.comparison import Comparison
from gan_gradflow.reports.comparison_page import final_table, write_report
from gan_gradflow.reports.comparison_pictures import _draw_floor, spans_much
from gan_gradflow.reports.runs import read_run


@pytest.fixture
def comparison(tmp_path):
    leave_run(tmp_path / "a", seed=1, distances=(3.0, 2.0))
    leave_run(tmp_path / "b", seed=2, distances=(5.0, 1.0))
    leave_run(tmp_path / "c", bridge="spsa", distances=(6.0, 5.0))
    return Comparison([read_run(tmp_path / name) for name in "abc"])


@pytest.fixture
def written(comparison, tmp_path):
    return write_report(tmp_path / "out", comparison, "compare <x>", {"spsa": "a & b"})


def test_the_table_has_means_errors_costs_and_the_floor(comparison) -> None:
    table = final_table(comparison)
    first, second, floor = (
        dict(zip(table.head, row, strict=True)) for row in table.rows
    )
    assert (first["distance"], first["seeds"], first["queries"]) == (
        "1.5 ± 0.5",
        "2",
        "40",
    )
    assert (second["distance"], second["modes"]) == ("5", "2")
    assert (floor["distance"], floor["seeds"]) == ("0.5", "")


def test_without_measures_there_is_no_floor(tmp_path) -> None:
    run = read_run(leave_run(tmp_path / "a"))
    unmeasured = {**run.summary, "primary": None, "quality": {}, "floor": {}}
    table = final_table(Comparison([run._replace(summary=unmeasured)]))
    assert table.rows == [["exact", "1", "4", "40", "3", "2"]]


def test_the_page_needs_no_other_file(written) -> None:
    page = written["report"].read_text()
    sources = re.findall(r'(?:src|href)="([^"]{,30})', page)
    assert len(sources) == 3  # two figures and the samples
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "compare &lt;x&gt;" in page
    assert "a &amp; b" in page


def test_the_markdown_shows_the_pictures_beside_it(written) -> None:
    text = written["report_markdown"].read_text()
    assert "1.5 ± 0.5" in text
    for name in re.findall(r"!\[\w+\]\((.*?)\)", text):
        with Image.open(written["report_markdown"].with_name(name)) as picture:
            assert picture.width > 300


def test_programs_get_every_measurement(written) -> None:
    data = json.loads(written["report_json"].read_text())
    assert [(run["label"], run["seed"]) for run in data["runs"]] == [
        ("exact", 1),
        ("exact", 2),
        ("spsa", 1),
    ]
    assert data["runs"][0]["points"][1]["figures"]["distance"] == 2.0


def test_the_page_says_what_differs_beside_the_bridge(tmp_path) -> None:
    leave_run(tmp_path / "a", generator={"_target_": "nets.Plain"})
    leave_run(tmp_path / "b", bridge="spsa", generator={"_target_": "nets.Other"})
    comparison = Comparison([read_run(tmp_path / name) for name in "ab"])
    written = write_report(tmp_path / "out", comparison, "compare", {})
    said = "They differ also in: generator (Plain, Other)."
    assert said in written["report"].read_text()
    assert said in written["report_markdown"].read_text()


def test_runs_that_drew_nothing_have_no_samples(tmp_path) -> None:
    folder = leave_run(tmp_path / "a")
    for picture in (folder / "samples").iterdir():
        picture.unlink()
    comparison = Comparison([read_run(folder)])
    page = write_report(tmp_path / "out", comparison, "compare", {})[
        "report"
    ].read_text()
    assert "Samples" not in page
    assert not (tmp_path / "out" / "samples.png").exists()


@pytest.mark.parametrize(
    ("figures", "logarithmic"),
    [((400.0, 100.0), True), ((110.0, 100.0), False), ((1.0, 0.1), False)],
)
def test_only_what_spans_much_gets_a_logarithmic_axis(
    tmp_path, figures, logarithmic
) -> None:
    leave_run(tmp_path / "a", distances=figures)
    runs = Comparison([read_run(tmp_path / "a")])
    assert spans_much(runs, "distance") == logarithmic


@pytest.mark.parametrize(
    ("floor", "words", "low"),
    [
        (2.5, "reals against reals: 2.5", 2.5),
        (0.5, "reals against reals: 0.5 (off", 2.8),
    ],
)
def test_the_floor_does_not_squeeze_the_curves(floor, words, low) -> None:
    panels = list(Figure().subplots(1, 2, sharey=True))
    for axes in panels:
        axes.plot([1, 2, 3], [4, 3.5, 3])
    _draw_floor(panels, floor)
    assert panels[1].get_lines()[-1].get_label().startswith(words)
    assert low - 0.2 < panels[0].get_ylim()[0] <= low + 0.2
