"""The result of an audit: findings and tables, for reading and as JSON.

Whoever adds a check adds findings and a table; printing and JSON need no change.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from io import StringIO
from typing import Any, TypeAlias

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.rule import Rule
from rich.table import Table as RichTable
from rich.text import Text

from gan_gradflow.audit.catalogue import Severity
from gan_gradflow.audit.findings import Finding
from gan_gradflow.metrics.gradient_fidelity import Figure

Cell: TypeAlias = str | float | int | Figure | None

PHASES, DIRECTION, INFORMATION = "Phases", "Direction", "Information"
FIDELITY, HEALTH = "Fidelity", "Health"
SECTIONS = (PHASES, DIRECTION, INFORMATION, FIDELITY, HEALTH)

_STYLES = {
    Severity.VIOLATION: "bold red",
    Severity.WARNING: "yellow",
    Severity.NOTE: "",
}
_LONG = 24  # rows; a longer table is printed without its unremarkable rows


@dataclass(frozen=True)
class Table:
    """Figures behind the findings; the last column names the findings of a row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    section: str = ""


@dataclass
class AuditReport:
    """What an audit saw and what it thinks of it.

    `print(report)` shows the findings and the tables, `ok` is False if there is a
    violation, and `to_json` holds everything.
    """

    findings: list[Finding]
    tables: list[Table] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; warnings and notes do not count."""
        return not self.codes(Severity.VIOLATION)

    def codes(self, *severities: Severity) -> list[str]:
        """The codes of the findings, of these severities or of all."""
        wanted = severities or tuple(Severity)
        return [f.code for f in self.findings if f.severity in wanted]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dictionaries, lists, strings and numbers."""
        return {
            "ok": self.ok,
            "seconds": round(self.seconds, 3),
            "findings": [
                {**asdict(f), "severity": f.severity.value, "names": list(f.names)}
                for f in self.findings
            ],
            "tables": [
                {
                    "section": table.section,
                    "title": table.title,
                    "columns": list(table.columns),
                    "rows": [list(row) for row in table.rows],
                }
                for table in self.tables
            ],
        }

    def to_json(self) -> str:
        """The report as JSON; numbers that JSON lacks are written as strings."""
        return json.dumps(_plain(self.to_dict()), indent=2, allow_nan=False)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        for section in ("", *SECTIONS):
            tables = [t for t in self.tables if t.section == section and t.rows]
            if section and tables:
                yield Rule(section, align="left", style="dim")
            yield from map(_rendered, tables)
        yield Rule("Findings", align="left", style="dim")
        for found in sorted(
            self.findings, key=lambda f: list(Severity).index(f.severity)
        ):
            yield _line(found)
        yield self._verdict()

    def __str__(self) -> str:
        buffer = StringIO()
        colours = sys.stdout.isatty()
        Console(file=buffer, force_terminal=colours, width=100).print(self)
        return buffer.getvalue().rstrip()

    def _verdict(self) -> Text:
        violations = len(self.codes(Severity.VIOLATION))
        if self.ok:
            return Text(f"No violation, {self.seconds:.1f} s.", style="bold green")
        plural = "s" if violations > 1 else ""
        return Text(
            f"{violations} violation{plural}, {self.seconds:.1f} s.", style="bold red"
        )


def _rendered(table: Table) -> RichTable:
    rows = table.rows
    hidden = 0
    if len(rows) > _LONG and table.section != FIDELITY:
        rows = tuple(row for row in rows if row[-1])
        hidden = len(table.rows) - len(rows)
    caption = f"{hidden} unremarkable rows are in the JSON" if hidden else None
    printed = RichTable(title=table.title, title_justify="left", caption=caption)
    for number, column in enumerate(table.columns):
        printed.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        cells = [escape(shown(cell)) for cell in row]
        printed.add_row(*cells, style="red" if row[-1] else "")
    return printed


def shown(cell: Cell) -> str:
    """A cell as text, with three digits."""
    if cell is None:
        return "-"
    if isinstance(cell, Figure):
        value = f"{cell.value:.3g}"
        return f"{value} ± {cell.error:.1g}" if cell.error else value
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)


def _line(found: Finding) -> Text:
    names = ", ".join(found.names[:4]) + (" ..." if len(found.names) > 4 else "")
    text = Text(f"{found.severity.value} ", style=_STYLES[found.severity])
    text.append(f"[{found.phase}] {found.code}: {found.message}")
    if names:
        text.append(f" ({names})")
    text.append(f"\n    usual cause: {found.cause}", style="dim")
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    finite = not isinstance(value, float) or abs(value) < float("inf")
    return value if finite else str(value)
