"""The page stands alone, shows every section, and takes no name for markup."""

from html.parser import HTMLParser
from itertools import pairwise

import pytest
from own_gan import batch, make_bridge, make_module

from gan_gradflow.audit import AuditReport, Table
from gan_gradflow.audit.fidelity import fidelity_tables, measure_curves
from gan_gradflow.audit.findings import finding
from gan_gradflow.audit.page import page
from gan_gradflow.audit.plots import _look as look
from gan_gradflow.audit.plots import direction_plot, fidelity_plot, health_plot, svg
from gan_gradflow.audit.report import DIRECTION, FIDELITY, HEALTH, PHASES

VOID = {"meta", "img", "br"}


class Balanced(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(html: str) -> Balanced:
    parser = Balanced()
    parser.feed(html)
    assert parser.open == []
    return parser


def test_a_page_needs_nothing_beside_it_and_is_well_formed():
    rows = (
        ("discriminator", 0.5, -0.1, -0.1, 1.0, "from autograd", ""),
        ("generator", None, None, None, None, None, ""),
    )
    columns = ("player", "loss", "predicted change", "measured", "ratio")
    columns += ("gradient", "finding")
    table = Table("T", columns, rows, DIRECTION)
    html = page(
        AuditReport([], [table]), {"bridge": "b"}, {DIRECTION: [direction_plot(table)]}
    )
    for tag, attributes in read(html).seen:
        assert tag not in ("script", "link")
        assert attributes.get("src", "data:").startswith("data:")


def test_names_are_shown_as_they_are():
    bad = finding("no-gradient", "generator", "<b>5</b> < 6", ["<img src=x>"])
    table = Table("<i>", ("a", "finding"), (("<script>", "x"),), PHASES)
    html = page(AuditReport([bad], [table]), {"<u>": "&"}, {})
    read(html)
    assert "<script>" not in html
    assert "&lt;img src=x&gt;" in html
    assert "1 violation" in html


def test_every_curve_and_layer_is_drawn():
    bridges = {
        "exact": [make_bridge("exact")],
        "spsa": [make_bridge("spsa")],
        "no": "why",
    }
    curves = measure_curves(make_module(), batch(), bridges, 40, None)
    assert svg(fidelity_plot(curves)).lstrip().startswith("<?xml")
    html = page(AuditReport([], fidelity_tables(curves, [])), {}, {FIDELITY: []})
    assert "why" in html
    columns = (
        "group",
        "gradient used",
        "update / weights",
        "error against float64",
        "in bf16",
    )
    rows = (("generator.0", 0.5, None, 0.0, 1e-3),)
    assert "<svg" in svg(health_plot(Table("Health", columns, rows, HEALTH)))


def overprinted(canvas) -> list[str]:
    """The labels of horizontal axes that begin before the one to their left has ended."""
    canvas.draw_without_rendering()
    found = []
    for axis in canvas.axes:
        low, high = axis.get_xlim()
        labels = [
            label
            for label in axis.get_xticklabels(which="both")
            if label.get_text() and low <= label.get_position()[0] <= high
        ]
        boxes = sorted(
            (label.get_window_extent() for label in labels), key=lambda b: b.x0
        )
        pairs = pairwise(boxes)
        found += [str(axis.get_title()) for left, right in pairs if right.x0 < left.x1]
    return found


@pytest.mark.parametrize("sizes", [(0.2, 7.0), (2.0, 6.0), (3.0, 3.0), (1e-9, 50.0)])
def test_the_labels_of_layers_sizes_have_room(sizes):
    columns = ("group", "gradient used", "update / weights", "error against float64")
    columns = (*columns, "in bf16", "finding")
    rows = tuple((f"generator.{n}", n, n, n, None, "") for n in sizes)
    canvas = health_plot(Table("T", columns, rows, HEALTH))
    assert overprinted(canvas) == []
    for axis in canvas.axes:
        shown = [label.get_text() for label in axis.get_xticklabels()]
        assert len([text for text in shown if text]) >= 2


@pytest.mark.parametrize("change", [-0.004, -0.0123, -3.2, -1.4e-7, -123456.0])
def test_the_labels_of_changes_have_room(change):
    columns = ("player", "loss", "predicted change", "measured", "gradient", "finding")
    rows = tuple(
        (player, 0.5, change, change, "from scores", "")
        for player in ("discriminator", "generator")
    )
    assert overprinted(direction_plot(Table("T", columns, rows, DIRECTION))) == []


def test_no_two_curves_of_fidelity_look_alike():
    looks = [look(number) for number in range(20)]
    assert len({mark["color"] for mark in looks}) == 20
    assert all(mark["markersize"] >= 5 for mark in looks)
