"""How time and memory grow: with queries, with the batch, and with the size of images.

    python benchmarks/scaling.py --plot scaling.png

Each point is a process of its own that calls a score-only bridge (queries) or plays whole
iterations of the exact game (batch, pixels) on the main job's networks: the least time of
a few calls, and the memory that the process needed beyond a first small call. The plot
holds the line along which cost grows in proportion, through the last point of each curve.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from itertools import pairwise

import torch
from handwritten import configuration
from rich.console import Console
from rich.table import Table

from gan_gradflow.cli import build
from gan_gradflow.cli.console import quiet_libraries

DIRECTIONS = "bridge.directions.num_directions"
SCORES = ["bridge=finite_difference", "critic.chunk_size=256"]
CURVES = {
    "queries": [
        (n, [*SCORES, f"{DIRECTIONS}={n - 1}", "data.batch_size=16"])
        for n in (4, 16, 64, 256, 1024)
    ],
    "batch": [(n, [f"data.batch_size={n}"]) for n in (16, 64, 256, 1024)],
    "pixels": [
        (n * n, [f"data.event_shape=[1,{n},{n}]", "data.batch_size=16"])
        for n in (28, 32, 64)
    ],
}


def point(overrides: list[str], calls: int) -> tuple[float, float]:
    """Seconds and MiB of one update of the discriminator and one of the generator."""
    quiet_libraries()
    config = configuration("unused", 1, ["metrics=none", *overrides])
    torch.manual_seed(0)
    module = build.build_module(config)
    module.critic.budget = None
    shape, batch = config["data"]["event_shape"], config["data"]["batch_size"]
    generator, discriminator = module.generator, module.discriminator
    reals = torch.rand(batch, *shape) * 2 - 1

    def update(rows: int) -> None:
        latents = torch.randn(rows, generator.latent_dim)
        with torch.no_grad():
            fakes = generator(latents)
        discriminator.loss(reals[:rows], fakes)[0].backward()
        discriminator.requires_grad_(False)
        module.bridge(module.critic, generator(latents)).mean().backward()
        discriminator.requires_grad_(True)

    update(2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent = []
    for _ in range(calls):
        start = time.process_time()
        update(batch)
        spent.append(time.process_time() - start)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return min(spent), (after - before) / 1024


def plot(measured: dict[str, list[tuple[int, float, float]]], file: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(measured), 6), layout="constrained")
    grid = figure.subplots(2, len(measured), squeeze=False)
    for column, (name, points) in enumerate(measured.items()):
        sizes = [size for size, *_ in points]
        for row, what in enumerate(("seconds", "MiB")):
            axes, values = grid[row][column], [one[1 + row] for one in points]
            axes.loglog(sizes, values, "o-", label="measured")
            ideal = [values[-1] * size / sizes[-1] for size in sizes]
            axes.loglog(sizes, ideal, "--", color="grey", label="in proportion")
            axes.set(xlabel=name, ylabel=what)
            axes.legend()
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=3)
    parser.add_argument("--plot", help="a PNG to write")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.point:
        print(*point(json.loads(args.point), args.calls))
        return
    measured: dict[str, list[tuple[int, float, float]]] = {}
    for name, points in CURVES.items():
        for size, overrides in points:
            command = [sys.executable, __file__, "--calls", str(args.calls)]
            command += ["--point", json.dumps(overrides)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds, mebibytes = map(float, done.stdout.split())
            measured.setdefault(name, []).append((size, seconds, mebibytes))
    table = Table(
        "", "size", "seconds", "MiB", "times the time of", "times the size of"
    )
    for name, points in measured.items():
        table.add_row(name, str(points[0][0]), *(f"{one:.3g}" for one in points[0][1:]))
        for (small, fast, _), (size, seconds, mebibytes) in pairwise(points):
            figures = f"{seconds:.3g}", f"{mebibytes:.3g}", f"{seconds / fast:.2f}"
            table.add_row(name, str(size), *figures, f"{size / small:.2f}")
    Console().print(table)
    if args.plot:
        plot(measured, args.plot)


if __name__ == "__main__":
    main()
