"""Runs that are killed again and again, beside runs that are not.

    python benchmarks/kill_soak.py --kills 6 --seed 1

For each bridge a run on the ring is killed with SIGKILL at random times (in start-up, in
an iteration, in the writing of a checkpoint) and resumed each time with
`gan-gradflow train resume=...`, until it may end; the times are shares of what the run
takes in one go. Then every weight, moment, buffer, random generator, count and callback in
its last checkpoint is compared, to the last bit, with that of a run in one go. Every life
is forked from a process that has imported the libraries already, so it takes seconds.
"""

import argparse
import contextlib
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

BRIDGES = ("exact", "adaptive_difference", "relax", "surrogate_input")
SETTINGS = (
    "experiment=ring",
    "generator.width=32",
    "discriminator.width=32",
    "data.num_train=2000",
    "metrics.num_samples=500",
    "critic.chunk_size=null",  # a chunk size that is measured may differ between two runs
    "callbacks.quality.every_n_iterations=100",
    "callbacks.sample_grid.every_n_iterations=100",
    "callbacks.last_checkpoint.every_n_train_steps=10",
)


class Outcome(NamedTuple):
    bridge: str
    kills: int
    begun_again: int
    cut_off: int
    differing: list[str]


def soak(bridge: str, kills: int, iterations: int, seed: int) -> Outcome:
    """Kill and resume a run until it has been killed so often, and compare."""
    draw = random.Random(f"{seed} {bridge}")
    begin = ("train", *SETTINGS, f"bridge={bridge}", f"max_iterations={iterations}")
    started = time.monotonic()
    live(*begin, "run_name=whole")
    whole = time.monotonic() - started
    run, killed, begun_again, cut_off = Path("outputs/killed"), 0, 0, 0
    while True:
        if list(run.glob("checkpoints/*.ckpt")):
            words = ("train", f"resume={run}")
        else:  # killed before its first checkpoint
            begun_again += run.exists()
            shutil.rmtree(run, ignore_errors=True)
            words = (*begin, "run_name=killed")
        seconds = whole * draw.uniform(0.05, 0.7) if killed < kills else None
        if live(*words, seconds=seconds):
            break
        killed += 1
        cut_off += bool(list(run.glob("checkpoints/.*.partial")))
    ends = [state(Path("outputs", name)) for name in ("whole", "killed")]
    keys = ends[0].keys() | ends[1].keys()
    differing = sorted(k for k in keys if ends[0].get(k) != ends[1].get(k))
    return Outcome(bridge, killed, begun_again, cut_off, differing)


def live(*words: str, seconds: float | None = None) -> bool:
    """Run a command, for so long at most; whether it came to its end."""
    process = multiprocessing.get_context("forkserver").Process(
        target=command, args=(words,)
    )
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
    process.join()
    if process.exitcode not in (0, -9):
        raise SystemExit(f"{' '.join(words)}: exit code {process.exitcode}")
    return process.exitcode == 0


def command(words: tuple[str, ...]) -> None:
    """What the console script does, saying nothing."""
    from gan_gradflow.cli import main

    torch.set_num_threads(1)
    sys.argv = ["gan-gradflow", *words]
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        main()


def state(folder: Path) -> dict[str, object]:
    """All that a run came to, flat, without its place and what a clock put into it."""
    path = folder / "checkpoints" / "last.ckpt"
    contents = torch.load(path, weights_only=True)
    del contents["hyper_parameters"]
    flat = dict(leaves(contents, "", str(folder.absolute())))
    del flat["/gan_gradflow/seal"]  # which covers place and clock
    return {key: value for key, value in flat.items() if "seconds" not in key}


def leaves(node: Any, place: str, folder: str) -> Iterator[tuple[str, object]]:
    if isinstance(node, (list, tuple)):
        node = dict(enumerate(node))
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{place}/{key}".replace(folder, ""), folder)
    elif isinstance(node, torch.Tensor):
        yield place, (node.dtype, node.shape, node.detach().numpy().tobytes())
    else:
        yield place, node.replace(folder, "") if isinstance(node, str) else node


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=6, help="for each bridge")
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="of the times of the kills")
    parser.add_argument("--bridges", nargs="+", default=BRIDGES)
    arguments = parser.parse_args()
    multiprocessing.get_context("forkserver").set_forkserver_preload(
        ["lightning", "gan_gradflow.cli.build", "gan_gradflow.cli.train"]
    )
    live("--version")  # the libraries are imported before any life is timed
    started = time.monotonic()
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for bridge in arguments.bridges:
            shutil.rmtree("outputs", ignore_errors=True)
            limits = (arguments.kills, arguments.iterations, arguments.seed)
            outcomes.append(soak(bridge, *limits))
            print(outcomes[-1], flush=True)
    print(
        "| bridge | kills | of them before a checkpoint | in the writing of one | end |"
    )
    print("| --- | --- | --- | --- | --- |")
    for row in outcomes:
        end = ", ".join(row.differing[:3]) or "bit-identical"
        print(
            f"| `{row.bridge}` | {row.kills} | {row.begun_again} | {row.cut_off} | {end} |"
        )
    print(f"{sum(r.kills for r in outcomes)} kills, {time.monotonic() - started:.0f} s")
    sys.exit(any(row.differing for row in outcomes))


if __name__ == "__main__":
    main()
