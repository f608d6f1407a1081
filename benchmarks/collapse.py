"""Does the collapse alarm sound when it should, and only then?

    python benchmarks/collapse.py

Trains, with the commands that are printed, runs that collapse (`experiment=collapse`, and
a variant in which the generator is the one that learns too fast), runs that are lost (reals
beyond the range of a generator that ends in tanh, so that the discriminator is always right
and nothing that it teaches helps) and healthy ones: the ring with exact gradients, the ring
with scores only, and the digits. The alarm measures twice as often as by default and starts
earlier, so that short runs give it every chance to be wrong. For each run: the alarm, if
there was one, and the extremes of its signs after the warm-up.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ALARM = "callbacks.collapse_alarm"
WARM_UP = 200
COMMON = (
    f"{ALARM}.every_n_iterations=50",
    f"{ALARM}.warm_up={WARM_UP}",
    f"{ALARM}.on_collapse=stop",
    "callbacks.quality.every_n_iterations=100",
    "callbacks.sample_grid=null",
)
FAST_GENERATOR = (
    "objective=nonsaturating",
    "n_critic=1",
    "optimizer.generator.lr=0.005",
    "optimizer.discriminator.lr=0.0005",
)
OUT_OF_REACH = (
    "data.radius=1.5",
    "generator.output=tanh",
    "generator.norm=batch",
    "optimizer.generator.lr=0.0001",
)
RING = ("experiment=ring", "max_iterations=1200")
DIGITS = ("metrics.num_samples=2000", "max_iterations=450")


def runs() -> dict[str, tuple[bool, tuple[str, ...]]]:
    """Whether there is something to find, and its overrides, by name."""
    collapse = ("experiment=collapse", "max_iterations=1000")
    collapsing = {
        f"{name}, seed {seed}": (True, (*collapse, *overrides, f"seed={seed}"))
        for name, overrides in (("collapse", ()), ("fast generator", FAST_GENERATOR))
        for seed in (1, 2, 3)
    }
    lost = {
        f"out of reach, seed {s}": (True, (*collapse, *OUT_OF_REACH, f"seed={s}"))
        for s in (1, 2, 3)
    }
    scores = "bridge=finite_difference"
    healthy = {f"ring, seed {s}": (False, (*RING, f"seed={s}")) for s in (1, 2, 3)}
    healthy |= {
        "scores only, ring": (False, (*RING, scores, "seed=4")),
        "digits": (False, DIGITS),
        "scores only, digits": (False, (*DIGITS, scores)),
    }
    return collapsing | lost | healthy


def train(overrides: tuple[str, ...], folder: Path) -> dict:
    command = ["gan-gradflow", "train", *overrides, *COMMON]
    print("   ", " ".join(command), flush=True)
    command += [f"hydra.run.dir={folder}", "run_name=benchmark"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr or done.stdout)
    return json.loads((folder / "summary.json").read_text())


def extreme(events: EventAccumulator, sign: str, choose) -> str:
    seen = [e.value for e in events.Scalars(f"collapse/{sign}") if e.step > WARM_UP]
    return f"{choose(seen):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="runs whose name starts so")
    args = parser.parse_args()
    table = Table(title="collapse alarm")
    for column in ("run", "iterations", "least modes", "least spread", "most accuracy"):
        table.add_column(column)
    table.add_column("alarm")
    right = {True: 0, False: 0}
    chosen = {name: run for name, run in runs().items() if name.startswith(args.only)}
    for name, (collapses, overrides) in chosen.items():
        with tempfile.TemporaryDirectory() as folder:
            summary = train(overrides, Path(folder))
            events = EventAccumulator(f"{folder}/tensorboard").Reload()
        alarm = summary["alarms"][0].partition(",")[0] if summary["alarms"] else "none"
        right[collapses] += collapses == bool(summary["alarms"])
        table.add_row(
            name,
            str(summary["iterations"]),
            extreme(events, "modes", min),
            extreme(events, "spread", min),
            extreme(events, "accuracy", max),
            alarm,
        )
    collapsing = sum(collapses for collapses, _ in chosen.values())
    Console(width=120).print(table)
    print(
        f"{right[True]} of {collapsing} bad runs found, "
        f"{right[False]} of {len(chosen) - collapsing} healthy runs left alone"
    )


if __name__ == "__main__":
    main()
