"""A comparison as a page: one HTML file that holds everything, and the same in Markdown."""

import base64
import html
import json
from pathlib import Path
from typing import NamedTuple

from gan_gradflow.reports.comparison import Comparison, Mean
from gan_gradflow.reports.comparison_pictures import draw_curves, draw_samples

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 110rem;
  margin: 2rem auto; padding: 0 1.5rem; }
p, pre, img { max-width: min(100%, 72rem); }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
th { border-bottom: 2px solid #888; } tr.floor td { color: #777; }
td { white-space: nowrap; }
.wide { overflow-x: auto; }
pre { background: #f5f5f5; padding: .8rem 1rem; white-space: pre-wrap; }
"""


class Table(NamedTuple):
    """Rows of cells below a head."""

    head: list[str]
    rows: list[list[str]]


def write_report(
    folder: Path, comparison: Comparison, command: str, failures: dict[str, str]
) -> dict[str, Path]:
    """Write `report.html`, `report.md` with its pictures, and `report.json`.

    Args:
        folder: where they go.
        comparison: the finished runs.
        command: what a reader types to have the report again.
        failures: runs that did not finish, with the reason.

    Returns:
        The files by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {}
    for figure in comparison.figures():
        path = folder / f"{figure}.png"
        pictures[figure.replace("_", " ")] = draw_curves(path, comparison, figure)
    samples = draw_samples(folder / "samples.png", comparison)
    page = _Page(comparison, command, failures, pictures, samples)
    written = {
        "report": folder / "report.html",
        "report_markdown": folder / "report.md",
        "report_json": folder / "report.json",
    }
    written["report"].write_text(page.html())
    written["report_markdown"].write_text(page.markdown())
    written["report_json"].write_text(json.dumps(as_data(comparison), indent=2) + "\n")
    return written


def final_table(comparison: Comparison) -> Table:
    """Every figure at the end, with what it took; the last row is the floor, if any."""
    figures = comparison.figures()
    head = ["", "seeds", "iterations", "queries", "seconds", "CPU seconds"]
    rows = []
    for label in comparison.labels:
        row = [label, str(len(comparison.of(label)))]
        for unit in ("iteration", "queries", "seconds", "cpu_seconds"):
            spent = comparison.spent(label, unit)
            row.append("" if spent is None else f"{spent.value:,.0f}")
        rows.append(row + [_cell(comparison.final(label, f)) for f in figures])
    floors = [comparison.floor(figure) for figure in figures]
    shown = ["" if floor is None else f"{floor:.4g}" for floor in floors]
    if any(shown):
        rows.append(["reals against reals", *[""] * 5, *shown])
    return Table(head + [name.replace("_", " ") for name in figures], rows)


def fidelity_table(comparison: Comparison) -> Table | None:
    """How near each label's gradient was to the truth; None if unmeasured."""
    measured = {label: comparison.fidelity(label) for label in comparison.labels}
    names = list(dict.fromkeys(name for found in measured.values() for name in found))
    if not names:
        return None
    rows = [[k, *[_cell(found.get(n)) for n in names]] for k, found in measured.items()]
    return Table(["", *[name.replace("_", " ") for name in names]], rows)


def as_data(comparison: Comparison) -> dict[str, object]:
    """The runs with all their measurements, for programs."""
    return {
        "primary": comparison.primary,
        "runs": [
            {
                "label": run.label,
                "folder": str(run.folder),
                "seed": run.config["seed"],
                "iterations": run.summary["iterations"],
                "queries": run.summary["queries"],
                "quality": run.summary["quality"],
                "floor": run.summary["floor"],
                "fidelity": run.fidelity,
                "machine": run.summary["machine"],
                "points": [point._asdict() for point in run.points],
            }
            for run in comparison.runs
        ],
    }


class _Page(NamedTuple):
    comparison: Comparison
    command: str
    failures: dict[str, str]
    pictures: dict[str, Path]
    samples: Path | None

    def sections(self) -> list[tuple[str, list[str | Table | Path]]]:
        """Headings with texts, tables and pictures."""
        found: list[tuple[str, list[str | Table | Path]]] = []
        if self.failures:
            rows = [[name, reason] for name, reason in self.failures.items()]
            found.append(("Runs that did not finish", [Table(["run", "reason"], rows)]))
        found.append(("At the end", [_WORDS, final_table(self.comparison)]))
        fidelity = fidelity_table(self.comparison)
        if fidelity:
            found.append(("Fidelity of the gradient", [_FIDELITY, fidelity]))
        if self.samples:
            found.append(("Samples", [_SAMPLES, self.samples]))
        main = (self.comparison.primary or "").replace("_", " ")
        first = [main] if main in self.pictures else []
        for name in first + [n for n in self.pictures if n != main]:
            found.append((f"{name.capitalize()}", [self.pictures[name]]))
        return found

    def html(self) -> str:
        """One file without links to others."""
        parts = [f"<h1>{html.escape(self.title())}</h1>"]
        parts.append(f"<pre>{html.escape(self.command)}</pre>")
        parts.append(f"<p>{html.escape(self.setting())}</p>")
        for heading, contents in self.sections():
            parts.append(f"<h2>{html.escape(heading)}</h2>")
            parts += [_in_html(item) for item in contents]
        body = "\n".join(parts)
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            f"<title>{html.escape(self.title())}</title><style>{_STYLE}</style></head>"
            f"<body>\n{body}\n</body></html>\n"
        )

    def markdown(self) -> str:
        """The same, with its pictures as files beside it."""
        parts = [f"# {self.title()}", f"    {self.command}", self.setting()]
        for heading, contents in self.sections():
            parts.append(f"## {heading}")
            parts += [_in_markdown(item) for item in contents]
        return "\n\n".join(parts) + "\n"

    def title(self) -> str:
        """What is compared."""
        return "Comparison of " + ", ".join(self.comparison.labels)

    def setting(self) -> str:
        """On what, for how long and where, and what differs beside the labels."""
        run = self.comparison.runs[0]
        seeds = sorted({run.config["seed"] for run in self.comparison.runs})
        machine = run.summary["machine"]
        others = self.comparison.differences()
        listed = ", ".join(f"{part} ({values})" for part, values in others.items())
        also = f" They differ also in: {listed}." if others else ""
        return (
            f"Data: {run.config['data']['_target_'].split('.')[-1]}, batches of "
            f"{run.config['data']['batch_size']}; seeds {', '.join(map(str, seeds))}; "
            f"{machine['device']}, {machine['threads']} thread(s) a run, torch "
            f"{machine['torch']}.{also}"
        )


_WORDS = (
    "Mean and standard error over the seeds. Queries are samples that the critic scored "
    "for the generator; seconds are those of training, without the measuring."
)
_FIDELITY = (
    "Of the pull on a sample and of the gradient that the optimizer gets, in the second "
    "half of the runs, against the exact gradient where there is one. Without a scale the "
    "bridge was compared with itself, which says nothing of a bias; without a cosine that "
    "was too noisy to tell. The ratio of signal to noise (snr) is one of powers."
)
_SAMPLES = "The averaged generator of the first seed, at latents fixed by the seed."


def _cell(mean: Mean | None) -> str:
    return "" if mean is None else str(mean)


def _in_html(item: str | Table | Path) -> str:
    if isinstance(item, str):
        return f"<p>{html.escape(item)}</p>"
    if isinstance(item, Path):
        data = base64.b64encode(item.read_bytes()).decode()
        return (
            f'<img alt="{html.escape(item.stem)}" src="data:image/png;base64,{data}">'
        )
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in item.head)
    rows = [
        f"<tr{_CLASS if row[0] == 'reals against reals' else ''}>"
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
        + "</tr>"
        for row in item.rows
    ]
    table = f"<table><tr>{head}</tr>{''.join(rows)}</table>"
    return f'<div class="wide">{table}</div>'


_CLASS = ' class="floor"'


def _in_markdown(item: str | Table | Path) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, Path):
        return f"![{item.stem}]({item.name})"
    rows = [item.head, ["---"] * len(item.head), *item.rows]
    return "\n".join(f"| {' | '.join(_plain(cell) for cell in row)} |" for row in rows)


def _plain(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
