"""The report as one HTML page that needs nothing beside it: no script, no file, no net."""

import base64
from collections.abc import Mapping, Sequence
from html import escape

from matplotlib.figure import Figure as Canvas

from gan_gradflow.audit.catalogue import Severity
from gan_gradflow.audit.findings import Finding
from gan_gradflow.audit.plots import svg
from gan_gradflow.audit.report import SECTIONS, AuditReport, Cell, Table, shown

_ABOUT = {
    "Phases": "Who got a gradient in whose phase, which buffers changed, and which "
    "optimizer holds what: expected against seen.",
    "Direction": "A small step of each player along its update, and by how much its loss "
    "follows the first-order prediction; then what each loss wants of neutral scores.",
    "Information": "Every tensor that reached the discriminator's side and everything that "
    "came back in one round; and what was looked for there and must not be found.",
    "Fidelity": "The gradient that the bridge delivers against the true one, as the number "
    "of queries grows. Dashed: theory. Errors are standard errors.",
    "Health": "Norms, relative updates, and what the arithmetic loses, layer by layer.",
}

_LONG = 48  # characters of a cell that may take several lines

_STYLE = """
:root { --ink: #1f2937; --soft: #6b7280; --line: #e5e7eb; --ground: #f9fafb; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground);
  margin: 0 auto; max-width: 1080px; padding: 1.5rem; }
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 0; }
h3 { font-size: .95rem; margin: 1.2rem 0 .4rem; }
p.about, dl { color: var(--soft); margin: .25rem 0 .75rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; font-size: 13px; }
dd { margin: 0; color: var(--ink); overflow-wrap: anywhere; }
section { background: #fff; border: 1px solid var(--line); border-radius: 8px;
  padding: 1rem 1.25rem; margin: 1rem 0; }
nav { display: flex; flex-wrap: wrap; gap: .5rem; margin: 1rem 0; }
nav a { text-decoration: none; color: var(--ink); background: #fff; padding: .2rem .7rem;
  border: 1px solid var(--line); border-radius: 999px; font-size: 13px; }
.verdict { display: inline-block; padding: .15rem .7rem; border-radius: 999px;
  font-weight: 600; color: #fff; background: #15803d; }
.verdict.fails { background: #b91c1c; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; min-width: 100%; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--line);
  vertical-align: top; white-space: nowrap; }
td.long { white-space: normal; min-width: 22rem; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
tr.marked { background: #fef2f2; }
img { width: 100%; min-width: 680px; height: auto; }
ul.findings { list-style: none; margin: 0; padding: 0; }
ul.findings li { border-left: 4px solid var(--line); margin: .5rem 0; padding-left: .75rem;
  overflow-wrap: anywhere; }
li.violation { border-color: #b91c1c !important; }
li.warning { border-color: #d97706 !important; }
.cause { color: var(--soft); font-size: 13px; }
code { font: 13px ui-monospace, monospace; }
details > summary { cursor: pointer; color: var(--soft); }
"""


def page(
    report: AuditReport, facts: Mapping[str, str], plots: Mapping[str, Sequence[Canvas]]
) -> str:
    """The whole page.

    Args:
        report: findings and tables.
        facts: what was audited, by name.
        plots: of each section.
    """
    sections = [s for s in SECTIONS if _tables(report, s) or plots.get(s)]
    links = "".join(f'<a href="#{s}">{s}</a>' for s in ("Findings", *sections))
    bodies = "".join(_section(report, s, plots.get(s, ())) for s in sections)
    named = "".join(
        f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Gradient audit</title><style>{_STYLE}</style></head><body>"
        f"<h1>Is the gradient right? {_verdict(report)}</h1>"
        f"<nav>{links}</nav><dl>{named}</dl>{_findings(report)}{bodies}</body></html>\n"
    )


def _verdict(report: AuditReport) -> str:
    violations = len(report.codes(Severity.VIOLATION))
    if report.ok:
        return '<span class="verdict">no violation</span>'
    plural = "s" if violations > 1 else ""
    return f'<span class="verdict fails">{violations} violation{plural}</span>'


def _findings(report: AuditReport) -> str:
    grave = [f for f in report.findings if f.severity is not Severity.NOTE]
    grave.sort(key=lambda f: list(Severity).index(f.severity))
    notes = [f for f in report.findings if f.severity is Severity.NOTE]
    body = _listed(grave) if grave else "<p>Nothing is wrong, nothing is odd.</p>"
    if notes:
        plural = "s" if len(notes) > 1 else ""
        summary = f"<summary>{len(notes)} note{plural}: usual and harmless</summary>"
        body += f"<details>{summary}{_listed(notes)}</details>"
    return f'<section id="Findings"><h2>Findings</h2>{body}</section>'


def _listed(findings: Sequence[Finding]) -> str:
    return f'<ul class="findings">{"".join(map(_finding, findings))}</ul>'


def _finding(found: Finding) -> str:
    names = ", ".join(found.names[:6]) + (" ..." if len(found.names) > 6 else "")
    where = f"<br><code>{escape(names)}</code>" if names else ""
    return (
        f'<li class="{found.severity.value}"><strong>{found.severity.value}</strong> '
        f"[{found.phase}] <code>{found.code}</code>: {escape(found.message)}{where}"
        f'<br><span class="cause">usual cause: {escape(found.cause)}</span></li>'
    )


def _tables(report: AuditReport, section: str) -> list[Table]:
    return [table for table in report.tables if table.section == section and table.rows]


def _section(report: AuditReport, section: str, plots: Sequence[Canvas]) -> str:
    images = "".join(map(_image, plots))
    tables = "".join(map(_table, _tables(report, section)))
    return (
        f'<section id="{section}"><h2>{section}</h2>'
        f'<p class="about">{_ABOUT[section]}</p>{images}{tables}</section>'
    )


def _image(canvas: Canvas) -> str:
    code = base64.b64encode(svg(canvas).encode()).decode()
    image = f'<img alt="plot" src="data:image/svg+xml;base64,{code}">'
    return f'<div class="scroll">{image}</div>'


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "".join(map(_row, table.rows))
    return (
        f'<h3>{escape(table.title)}</h3><div class="scroll"><table><thead><tr>{head}'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(row: Sequence[Cell]) -> str:
    cells = "".join(map(_cell, row))
    return f"<tr{' class=marked' if row[-1] else ''}>{cells}</tr>"


def _cell(cell: Cell) -> str:
    text = shown(cell)
    kind = "" if isinstance(cell, str) else " class=number"
    kind = " class=long" if len(text) > _LONG else kind
    return f"<td{kind}>{escape(text)}</td>"
