"""What an audit found: one line each, with the usual cause from the catalogue."""

from collections.abc import Iterable
from dataclasses import dataclass

from gan_gradflow.audit.catalogue import CATALOGUE, Severity


@dataclass(frozen=True)
class Finding:
    """One line of the report: what is wrong where, and what usually causes it.

    `names` lists the parameters, groups or buffers concerned; `phase` is
    `"discriminator"`, `"generator"` or `"setup"`.
    """

    code: str
    severity: Severity
    phase: str
    message: str
    cause: str
    names: tuple[str, ...] = ()


def finding(
    code: str,
    phase: str,
    message: str,
    names: Iterable[str] = (),
    severity: Severity | None = None,
) -> Finding:
    """A `Finding` whose severity and usual cause are those of the catalogue."""
    entry = CATALOGUE[code]
    return Finding(
        code=code,
        severity=severity or entry.severity,
        phase=phase,
        message=message,
        cause=entry.cause,
        names=tuple(names),
    )


def catalogue_table() -> str:
    """The catalogue as the Markdown table of `docs/audit.md`."""
    rows = ["| finding | weight | meaning | usual cause |", "|---|---|---|---|"]
    for code, entry in CATALOGUE.items():
        weight = entry.severity.value
        rows.append(f"| `{code}` | {weight} | {entry.meaning} | {entry.cause} |")
    return "\n".join(rows)
