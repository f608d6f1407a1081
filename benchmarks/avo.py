"""Adversarial variational optimisation of a Poisson simulator, by every fitting estimator.

    python benchmarks/avo.py --seeds 5

Observations: 20 000 counts at theta = log 7; the proposal starts at N(log 5, 1). The error
of the proposal, sqrt(E (theta - log 7)^2), against the number of simulator calls, those of
the critic's training included. The published figure is that of the code of Louppe, Hermans
and Cranmer (AISTATS 2019) with entropy weight 5: 0.095 after 980 000 calls.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import mean

import matplotlib.pyplot as plt
import torch
from runs import measured, train

PUBLISHED_ERROR, PUBLISHED_CALLS = 0.095, 980_000
ESTIMATORS = {
    "leave-one-out": [],
    "antithetic, leave-one-out": ["bridge/draws=antithetic", "bridge.num_draws=4"],
    "moving average": ["bridge/baseline=moving_average"],
    "no baseline": ["bridge/baseline=none"],
    "relax": ["bridge=relax", "bridge.num_draws=2"],
    "leave-one-out, entropy weight 0": ["entropy_weight=0"],
}


def run(folder: Path, name: str, overrides: list[str], seed: int) -> list:
    """Simulator calls and figures at every measurement."""
    run_name = f"{name.replace(', ', '_').replace(' ', '-')}_{seed}"
    place = train(
        folder, run_name, "experiment=avo_poisson", f"seed={seed}", *overrides
    )
    points = measured(place)
    state = torch.load(place / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    calls = int(state["generator.channel.calls"]) / points[-1]["iteration"]
    return [(calls * point["iteration"], point["figures"]) for point in points]


def reached(curve: list) -> float:
    """Calls after which the published error is undercut for the first time."""
    return next((c for c, figures in curve if figures["rmse"] <= PUBLISHED_ERROR), 1e9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--plot", default="docs/images/avo_poisson.png")
    options = parser.parse_args()
    axes = plt.figure(figsize=(7, 4.5), layout="constrained").subplots()
    print(
        "| estimator | rmse, each seed | mean | bias | width | calls | calls to 0.095 |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for name, overrides in ESTIMATORS.items():
            seeds = range(1, options.seeds + 1)
            curves = [run(Path(folder), name, overrides, seed) for seed in seeds]
            last = [curve[-1][1] for curve in curves]
            firsts = [reached(curve) for curve in curves]
            needed = f"{max(firsts):,.0f}" if max(firsts) < 1e9 else "not all reach it"
            each = ", ".join(f"{f['rmse']:.3f}" for f in last)
            print(
                f"| {name} | {each}"
                f" | {mean(f['rmse'] for f in last):.3f}"
                f" | {mean(f['bias'] for f in last):.3f}"
                f" | {mean(f['width'] for f in last):.3f}"
                f" | {curves[0][-1][0]:,.0f} | {needed} |",
                flush=True,
            )
            calls = [point[0] for point in curves[0]]
            errors = [
                mean(f["rmse"] for _, f in at) for at in zip(*curves, strict=True)
            ]
            axes.plot(calls, errors, label=name)
    axes.axhline(PUBLISHED_ERROR, color="grey", linestyle=":")
    axes.annotate(
        f"published: {PUBLISHED_ERROR} after {PUBLISHED_CALLS:,} calls",
        (0, PUBLISHED_ERROR * 1.05),
        color="grey",
    )
    axes.set(yscale="log", xlabel="simulator calls", ylabel="error of the proposal")
    axes.legend()
    axes.figure.savefig(options.plot, dpi=110)


if __name__ == "__main__":
    main()
