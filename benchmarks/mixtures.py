"""Ring and grid by the protocol of PacGAN, for eight bridges: mean and standard error.

    python benchmarks/mixtures.py                               # the whole table, 10 seeds
    python benchmarks/mixtures.py --data ring --bridges exact --seeds 3
    python benchmarks/mixtures.py --report                      # what is recorded so far

Ring: 8 Gaussians on a circle of radius 1, sigma .01. Grid: {-4, -2, 0, 2, 4}^2, sigma .05.
2500 samples of the averaged generator: modes with a fake of high quality (within 3 sigma),
share of high quality, KL divergence of the modes' shares from uniform. Every run is
`gan-gradflow train experiment=ring` (or grid) with the overrides below, at most 20 000
iterations of batch 100, and leaves its folder in `--folder`, where one that was interrupted
is resumed. A hundred and sixty runs take more than a day of a processor, so each leaves a
line in `mixtures.jsonl`, beside this file, and a run that has its line is not repeated:
the table grows from one day to the next. To run it all again, give another `--record`.

Bridges with scores only take 8 queries per sample or fewer. Their steps follow the data's
sigma: a difference longer than a mode is narrow sees its neighbourhood, not its slope.
On the grid the bridges other than `exact` learn at half the experiment's rate.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

TRAIN = Path(__file__).parents[1] / "scripts" / "train.py"
SIGMA = {"ring": 0.01, "grid": 0.02}  # of the score function, and the differences' step
PLAYERS = ("generator", "discriminator")
RECORD = Path(__file__).with_suffix(".jsonl")
FIGURES = ("modes", "high_quality", "reverse_kl")


def overrides(data: str, bridge: str) -> list[str]:
    """What a bridge needs beside the experiment."""
    own = bridge_overrides(data, bridge)
    if data == "grid" and bridge != "exact":
        own += [f"optimizer.{player}.lr=0.001" for player in PLAYERS]
    return own


def bridge_overrides(data: str, bridge: str) -> list[str]:
    """The bridge, and the numbers of its own."""
    step, name = SIGMA[data], f"bridge={bridge}"
    if bridge in ("finite_difference", "spsa"):
        pairs = "bridge.directions.num_directions=4"
        return [name, "bridge.central=true", f"bridge.step={step}", pairs]
    if bridge in ("score_function", "lax", "relax"):
        draws = ["bridge/draws=antithetic"] if bridge == "score_function" else []
        return [name, f"bridge.sigma={step}", *draws]
    if bridge == "surrogate_input":
        return [name, "bridge/statistics=full"]
    if bridge == "implicit":
        if data == "grid":  # an equilibrium of tanh stays between -1 and 1
            return [name, "bridge/equation=identity"]
        return [name, "bridge/equation=equilibrium", "bridge.equation.dim=2"]
    return [name]


BRIDGES = (
    "exact",
    "finite_difference",
    "score_function",
    "spsa",
    "lax",
    "relax",
    "surrogate_input",
    "implicit",
)


def run(folder: Path, data: str, bridge: str, seed: int, iterations: int) -> dict:
    """Train unless that has been done, from where it was interrupted; what came out."""
    place = folder / f"{data}_{bridge}_{seed}"
    if not finished(place):
        command = [sys.executable, str(TRAIN)]
        if (place / "checkpoints" / "last.ckpt").exists():
            command += [f"resume={place}"]
        else:
            command += [f"experiment={data}", f"seed={seed}", f"hydra.run.dir={place}"]
            command += [f"max_iterations={iterations}", *overrides(data, bridge)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return recorded(data, bridge, seed, finished(place))


def finished(place: Path) -> dict:
    """The summary of a run that came to its end; empty for one that did not."""
    path = place / "summary.json"
    summary = json.loads(path.read_text()) if path.exists() else {"finished": False}
    return summary if summary["finished"] else {}


def recorded(data: str, bridge: str, seed: int, summary: dict) -> dict:
    """What the record keeps of a run."""
    kept = {"data": data, "bridge": bridge, "seed": seed}
    kept["iterations"] = summary["iterations"]
    kept |= {name: summary["quality"][name] for name in FIGURES}
    kept["floor"] = {name: summary["floor"][name] for name in FIGURES}
    kept["queries_per_sample"] = summary["queries"] / (100 * summary["iterations"])
    return kept | {"seconds": summary["seconds"], **summary["machine"]}


def spread(numbers: list[float], digits: int) -> str:
    """The mean, and its standard error where there is more than one."""
    if len(numbers) == 1:
        return f"{numbers[0]:.{digits}f}"
    error = stdev(numbers) / len(numbers) ** 0.5
    return f"{mean(numbers):.{digits}f} ± {error:.{digits}f}"


def cells(figures: list[dict]) -> list[str]:
    """How many modes, how many percent of high quality, and the divergence."""
    return [
        f"{mean(one['modes'] for one in figures):.1f}",
        spread([100 * one["high_quality"] for one in figures], 1),
        spread([one["reverse_kl"] for one in figures], 4),
    ]


def report(data: str, bridges: list[str], runs: list[dict]) -> Table:
    """A row for each bridge of which a seed is finished."""
    table = Table(title=data, box=SIMPLE, padding=0)
    quality = ("modes", "quality %", "reverse KL")
    for heading in ("bridge", "seeds", *quality, "queries", "minutes"):
        table.add_column(heading, no_wrap=True)
    for bridge in bridges:
        done = [run for run in runs if (run["data"], run["bridge"]) == (data, bridge)]
        if not done:
            continue
        queries = f"{done[0]['queries_per_sample']:.0f}"
        minutes = f"{mean(run['seconds'] / 60 for run in done):.0f}"
        table.add_row(bridge, str(len(done)), *cells(done), queries, minutes)
    floor = next((run["floor"] for run in runs if run["data"] == data), None)
    if floor:
        table.add_row("a perfect sampler", "", *cells([floor]), "", "")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", default=list(SIGMA), choices=list(SIGMA))
    parser.add_argument("--bridges", nargs="+", default=BRIDGES, choices=BRIDGES)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--iterations", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, default=Path("outputs/mixtures"))
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args()
    wanted = [
        (data, bridge, seed + 1, options.iterations)
        for seed in range(options.seeds)
        for data in options.data
        for bridge in options.bridges
    ]
    runs = read(options.record)
    known = {which(done) for done in runs}
    left = [] if options.report else [one for one in wanted if one not in known]
    for one in left:
        runs.append(run(options.folder.resolve(), *one))
        with options.record.open("a") as record:
            record.write(json.dumps(runs[-1]) + "\n")
    runs = [done for done in runs if which(done) in wanted]
    for data in options.data:
        Console().print(report(data, options.bridges, runs))


def which(run: dict) -> tuple[str, str, int, int]:
    """What tells a run from the others."""
    return run["data"], run["bridge"], run["seed"], run["iterations"]


def read(record: Path) -> list[dict]:
    """The lines of the record."""
    return [json.loads(line) for line in record.open()] if record.exists() else []


if __name__ == "__main__":
    main()
