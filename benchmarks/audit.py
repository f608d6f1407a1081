"""How many mistakes the audit finds, how often it cries wolf, and what it costs.

The mistakes are those seeded in `tests/audit/bugs.py`, each in a loop of its own; a
mistake counts as found if the audit names it with the code that is written beside it. The
clean loops are the styles of `tests/audit/styles.py`, and every architecture with every
objective and penalty; a false alarm is any violation or warning in one of them, and also a
violation in a loop with a mistake that is not a consequence of it.

    python benchmarks/audit.py
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "audit"))

from architectures import ARCHITECTURES
from bugs import BUGS
from loops import Loop
from styles import STYLES
from test_clean_loops import OBJECTIVES, PENALTIES, loop_of, named

from gan_gradflow.audit import AuditReport, Severity

GRAVE = (Severity.VIOLATION, Severity.WARNING)


def audited(make: Callable[[], Loop], seed: int) -> tuple[AuditReport, float]:
    torch.manual_seed(seed)
    loop = make()
    started = time.perf_counter()
    return loop.audit(), time.perf_counter() - started


def grid() -> Iterator[tuple[str, Callable[[], Loop]]]:
    for parts in product(ARCHITECTURES, OBJECTIVES, PENALTIES):
        yield ", ".join(map(named, parts)), lambda parts=parts: loop_of(*parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4, help="of mistakes and styles")
    seeds = range(parser.parse_args().seeds)
    torch.set_num_threads(1)
    seconds, found, missed, blamed = [], 0, [], []
    for make, seed in product(BUGS, seeds):
        report, took = audited(make, seed)
        seconds.append(took)
        named_it = BUGS[make][0] in report.codes(*GRAVE)
        found += named_it
        missed += [] if named_it else [f"{make.__name__}, seed {seed}"]
        others = set(report.codes(Severity.VIOLATION)) - set(BUGS[make])
        blamed += [f"{make.__name__}, seed {seed}: {sorted(others)}"] if others else []
    clean = [(f"{make.__name__}, seed {s}", make, s) for make in STYLES for s in seeds]
    clean += [(name, make, 0) for name, make in grid()]
    alarms = []
    for name, make, seed in clean:
        report, took = audited(make, seed)
        seconds.append(took)
        codes = report.codes(*GRAVE)
        alarms += [f"{name}: {codes}"] if codes else []
    seeded = len(BUGS) * len(seeds)
    print(
        f"mistakes found: {found} of {seeded} ({len(BUGS)} kinds, {len(seeds)} seeds)"
    )
    print(f"loops with a mistake in which something else is blamed: {len(blamed)}")
    print(f"false alarms: {len(alarms)} in {len(clean)} clean loops")
    print(
        f"seconds for an audit: mean {sum(seconds) / len(seconds):.2f}, "
        f"longest {max(seconds):.2f}"
    )
    for title, lines in (("missed", missed), ("blamed", blamed), ("alarm", alarms)):
        for line in lines:
            print(f"{title}: {line}")


if __name__ == "__main__":
    main()
