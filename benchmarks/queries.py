"""Queries per second inside a score-only bridge, beside the discriminator's own forward.

    python benchmarks/queries.py

The bridge draws its directions, asks and combines the answers; the forward scores as many
samples, in the same chunks. They take turns; of the shares the median and the quartiles.
Beside them the least time that a query takes with a critic that costs nothing, and that of
drawing alone, in microseconds. `--pixels 64` takes 16 images of 64 pixels.
With `--memory` the peak memory of a call at 16 and at 1024 queries for each sample: of the
tensors alive at once, and of a process beyond a first forward (the allocator does not
do the same twice).
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from itertools import accumulate

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from rich.console import Console
from rich.table import Table

from gan_gradflow.cli import CONFIG_DIR
from gan_gradflow.critic import Critic
from gan_gradflow.modules.chunk_size import fastest_chunk_size
from gan_gradflow.objectives.nonsaturating import NonsaturatingObjective
from gan_gradflow.types import Access

BATCH = 64
BATCHES = {28: BATCH, 64: 16}  # by pixels
number, central = "bridge.directions.num_directions", "bridge.central=true"
BRIDGES = {
    "finite_difference": ["bridge=finite_difference"],
    "finite_difference, signs": [
        "bridge=finite_difference",
        "bridge/directions=rademacher",
        f"{number}=7",
    ],
    "finite_difference, central": ["bridge=finite_difference", central, f"{number}=4"],
    "spsa": ["bridge=spsa", f"{number}=4"],
    "score_function": ["bridge=score_function"],
}
MANY = {
    "finite_difference": f"{number}=1023",
    "finite_difference, signs": f"{number}=1023",
    "finite_difference, central": f"{number}=512",
    "spsa": f"{number}=512",
    "score_function": "bridge.num_draws=1024",
}
FEW = {
    "finite_difference": f"{number}=15",
    "finite_difference, signs": f"{number}=15",
    "finite_difference, central": f"{number}=8",
    "spsa": f"{number}=8",
    "score_function": "bridge.num_draws=16",
}


def parts(overrides: list[str], device: str, pixels: int = 28):
    """A bridge, and the loss of the main job's discriminator."""
    # glibc keeps freed memory only up to the size of what was freed before: training frees
    # large tensors, and without one every forward would get its memory page by page.
    torch.empty(31 * 2**20, dtype=torch.uint8)
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("train", overrides)
    torch.manual_seed(0)
    network = instantiate(
        cfg.discriminator, event_shape=[1, pixels, pixels], _convert_="all"
    )
    network = network.to(device, memory_format=torch.channels_last)
    network.requires_grad_(False)
    objective = NonsaturatingObjective()

    def losses(samples: torch.Tensor) -> torch.Tensor:
        return objective.generator_losses(network(samples), None)

    return instantiate(cfg.bridge), losses


def seconds(work, device: str) -> float:
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start


def drawing(bridge, emission: torch.Tensor) -> None:
    """Draw what one call draws."""
    if hasattr(bridge, "directions"):
        for _ in bridge.directions.blocks(emission):
            pass
    else:
        for _ in bridge._noise(emission, bridge._seeds(emission)):
            pass


def shares(
    overrides: list[str], rounds: int, device: str, pixels: int
) -> tuple[int, list[float], list[float], float, float]:
    """The chunk size; queries per second and shares by round; own and drawing time."""
    bridge, losses = parts(overrides, device, pixels)
    batch = BATCHES[pixels]
    emission = torch.rand(batch, 1, pixels, pixels, device=device) * 2 - 1
    size = fastest_chunk_size(losses, emission)
    critic = Critic(losses, access=Access.SCORES, chunk_size=size)
    nothing = torch.zeros(size, device=device)
    free = Critic(
        lambda samples: nothing[: len(samples)], access=Access.SCORES, chunk_size=size
    )
    num_queries = batch * bridge.queries_per_sample(pixels**2)
    asked = emission.repeat(-(-num_queries // batch), 1, 1, 1)

    @torch.no_grad()
    def forward() -> None:
        for chunk in asked.split(size):
            losses(chunk)

    works = {
        "inside": lambda: bridge(critic, emission),
        "outside": forward,
        "own": lambda: bridge(free, emission),
        "drawing": lambda: drawing(bridge, emission),
    }
    spent: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            spent[name].append(seconds(work, device))
    pairs = list(zip(spent["inside"], spent["outside"], strict=True))[1:]
    own, drawn = (1e6 * min(spent[name]) / num_queries for name in ("own", "drawing"))
    rates = [num_queries / inside for inside, _ in pairs]
    return size, rates, [outside / inside for inside, outside in pairs], own, drawn


def tensors(work, device: str) -> float:
    """MiB of tensors that are alive at once while something works."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        work()
    events = profile.profiler.kineto_results.events()
    changes = [e for e in events if e.name() == "[memory]"]
    changes.sort(key=lambda event: event.start_ns())
    return max(accumulate(event.nbytes() for event in changes)) / 2**20


def peak(overrides: list[str], device: str) -> tuple[float, float]:
    """MiB of tensors in a call of a bridge; MiB of the process beyond a first forward."""
    bridge, losses = parts(overrides, device)
    emission = torch.rand(BATCH, 1, 28, 28, device=device)
    critic = Critic(losses, access=Access.SCORES, chunk_size=256)
    with torch.no_grad():
        losses(emission)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bridge(critic, emission)
    process = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return tensors(lambda: bridge(critic, emission), device), process


def in_a_process(overrides: list[str], device: str) -> tuple[float, float]:
    command = [sys.executable, __file__, "--device", device]
    command += ["--peak", json.dumps(overrides)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    of_tensors, process = map(float, done.stdout.split())
    return of_tensors, process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pixels", type=int, choices=BATCHES, default=28)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        print(*peak(json.loads(args.peak), args.device))
        return
    if args.memory:
        table = Table(
            "bridge", "MiB of tensors: 16", "1024", "ratio", "process: 16", "1024"
        )
        for name, overrides in BRIDGES.items():
            few, few_all = in_a_process([*overrides, FEW[name]], args.device)
            many, many_all = in_a_process([*overrides, MANY[name]], args.device)
            figures = [f"{one:.1f}" for one in (few, many, few_all, many_all)]
            table.add_row(name, *figures[:2], f"{many / few:.2f}", *figures[2:])
        Console(width=100).print(table)
        return
    table = Table(
        "bridge", "chunk", "queries/s", "share", "quartiles", "own", "drawing"
    )
    for name, overrides in BRIDGES.items():
        size, rates, found, *micro = shares(
            overrides, args.rounds, args.device, args.pixels
        )
        low, middle, high = statistics.quantiles(found)
        rate, spread = f"{statistics.median(rates):,.0f}", f"{low:.3f} .. {high:.3f}"
        own = [f"{one:.2f}" for one in micro]
        table.add_row(name, str(size), rate, f"{middle:.3f}", spread, *own)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
