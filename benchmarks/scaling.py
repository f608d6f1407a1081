"""How time and memory grow: with queries, the batch, the size of images, and processes.

    python benchmarks/scaling.py --plot scaling.png

Each point is a process of its own (or two, that share the batch) which plays the updates of
both players, over a score-only bridge (queries) or the exact one (the rest), on the main
job's networks: the least time of a few calls, and the memory that the process needed beyond
a first small call. Seconds are those of the processor; of several processes those of the
busiest, which is the time it takes where each has a core to itself. The plot holds the line
along which cost grows in proportion, or falls as one over the number of processes.
"""

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import time
from itertools import pairwise

import torch
import torch.distributed as dist
from handwritten import configuration
from rich.console import Console
from rich.table import Table

from gan_gradflow.cli import build
from gan_gradflow.cli.console import quiet_libraries
from gan_gradflow.processes import Processes

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
    "processes, batch 64": [(n, ["data.batch_size=64"]) for n in (1, 2)],
    "processes, batch 1024": [(n, ["data.batch_size=1024"]) for n in (1, 2)],
}


def point(overrides: list[str], calls: int) -> tuple[float, float]:
    """Seconds and MiB of one update of the discriminator and one of the generator."""
    quiet_libraries()
    config = configuration("unused", 1, ["metrics=none", *overrides])
    torch.manual_seed(0)
    module = build.build_module(config)
    module.critic.budget = None
    processes = Processes.of_default_group()
    shape = config["data"]["event_shape"]
    batch = config["data"]["batch_size"] // processes.size
    generator, discriminator = module.generator, module.discriminator
    reals = torch.rand(batch, *shape) * 2 - 1

    def update(rows: int) -> None:
        latents = torch.randn(rows, generator.latent_dim)
        with torch.no_grad():
            fakes = generator(latents)
        discriminator.loss(reals[:rows], fakes)[0].backward()
        share(discriminator)
        discriminator.requires_grad_(False)
        module.bridge(module.critic, generator(latents)).mean().backward()
        share(generator)
        discriminator.requires_grad_(True)

    def share(player: torch.nn.Module) -> None:  # as DistributedDataParallel does
        if processes.size > 1:
            gradients = [p.grad for p in player.parameters() if p.grad is not None]
            processes.mean(torch.cat([gradient.flatten() for gradient in gradients]))

    update(2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent = []
    for _ in range(calls):
        start = time.process_time()
        update(batch)
        spent.append(time.process_time() - start)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return min(spent), (after - before) / 1024


def cost(overrides: list[str], calls: int, processes: int) -> tuple[float, float]:
    """Seconds and MiB of the busiest process and the largest."""
    command = [sys.executable, __file__, "--calls", str(calls)]
    command += ["--point", json.dumps(overrides)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    group |= {"WORLD_SIZE": str(processes)}
    started = [
        subprocess.Popen(
            command,
            env=os.environ | group | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    answers = [process.communicate()[0].split() for process in started]
    seconds, mebibytes = zip(*answers, strict=True)
    return max(map(float, seconds)), max(map(float, mebibytes))


def plot(measured: dict[str, list[tuple[int, float, float]]], file: str) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    figure = Figure(figsize=(4 * len(measured), 6), layout="constrained")
    grid = figure.subplots(2, len(measured), squeeze=False)
    for column, (name, points) in enumerate(measured.items()):
        sizes = [size for size, *_ in points]
        for row, what in enumerate(("seconds", "MiB")):
            axes, values = grid[row][column], [one[1 + row] for one in points]
            axes.loglog(sizes, values, "o-", label="measured")
            if name.startswith("processes"):
                ideal, label = [values[0] / size for size in sizes], "shared evenly"
            else:
                ideal = [values[-1] * size / sizes[-1] for size in sizes]
                label = "in proportion"
            axes.loglog(sizes, ideal, "--", color="grey", label=label)
            axes.set(xlabel=name, ylabel=f"{what} of a process")
            if name.startswith("processes"):
                axes.set_xticks(sizes, [str(size) for size in sizes])
                axes.xaxis.set_minor_formatter(NullFormatter())
            axes.legend()
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=3)
    parser.add_argument("--plot", help="a PNG to write")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.point:
        if int(os.environ["WORLD_SIZE"]) > 1:
            dist.init_process_group("gloo")
        print(*point(json.loads(args.point), args.calls))
        return
    measured: dict[str, list[tuple[int, float, float]]] = {}
    for name, points in CURVES.items():
        for size, overrides in points:
            processes = size if name.startswith("processes") else 1
            seconds, mebibytes = cost(overrides, args.calls, processes)
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
