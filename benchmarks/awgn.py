"""Iterations to the same quality through a noisy channel: scores only against backprop.

    python benchmarks/awgn.py --seeds 1 2 3

Eight modes on a ring, of the width of the channel's noise (sigma 0.05), seen by the
discriminator through noise of 0.05; what is sent is judged before the noise. Counted are
the iterations until 80 % of the samples lie within three standard deviations of a mode
and all modes are covered, measured every 25.
"""

import argparse
import tempfile
from pathlib import Path

from runs import listed, measured, train

SETTINGS = (
    "experiment=ring",
    "data.sigma=0.05",
    "channel=awgn",
    "channel.sigma=0.05",
    "generator.width=128",
    "discriminator.width=128",
    "penalty.gamma=0.05",
    "optimizer.generator.lr=0.001",
    "optimizer.discriminator.lr=0.001",
    "schedule@schedule.generator=constant",
    "schedule@schedule.discriminator=constant",
    "average_decay=0.99",
    "callbacks.sample_grid=null",
    "callbacks.collapse_alarm=null",
    "callbacks.quality.every_n_iterations=25",
)
SCORES = ("bridge=score_function", "bridge/draws=antithetic", "bridge.sigma=0.05")
BRIDGES = {
    "exact": ("bridge=exact",),
    "score function, 64 antithetic draws": (*SCORES, "bridge.num_draws=64"),
    "score function, 8 antithetic draws": (*SCORES, "bridge.num_draws=8"),
}


def iterations(run: Path) -> float:
    """The first measurement that is good enough; infinite if none is."""
    good = (
        point["iteration"]
        for point in measured(run)
        if point["figures"]["high_quality"] >= 0.8 and point["figures"]["modes"] == 8
    )
    return next(good, float("inf"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--iterations", type=int, default=1500)
    parser.add_argument("--only", default="", help="bridges whose name contains this")
    options = parser.parse_args()
    print("| bridge | iterations, each seed | mean | against exact |")
    print("| --- | --- | --- | --- |")
    exact = None
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, bridge) in enumerate(BRIDGES.items()):
            if options.only not in name:
                continue
            needed = []
            for seed in options.seeds:
                last = (f"seed={seed}", f"max_iterations={options.iterations}")
                run = train(
                    Path(folder), f"run-{number}-{seed}", *SETTINGS, *bridge, *last
                )
                needed.append(iterations(run))
            mean = sum(needed) / len(needed)
            exact = exact or mean
            print(f"| {name} | {listed(needed, 0)} | {mean / exact:.2f} |", flush=True)


if __name__ == "__main__":
    main()
