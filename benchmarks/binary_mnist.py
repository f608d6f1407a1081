"""Binary digits, by every bridge that applies: drawn by a Bernoulli generator, or cut off
at a threshold.

    python benchmarks/binary_mnist.py --iterations 1000 --width 16

The distance is that of docs/metrics.md, on black and white digits: what one bridge reaches
compares with what another does, and not with figures of grey digits.
"""

import argparse
import json
import tempfile
from pathlib import Path

from runs import listed, train

BERNOULLI = ("experiment=binary_mnist",)
THRESHOLD = ("data=binary_mnist", "channel=threshold")
TRAININGS = {
    "Bernoulli, straight_through": (*BERNOULLI, "bridge=straight_through"),
    "Bernoulli, score_function": (*BERNOULLI, "bridge=score_function"),
    "Bernoulli, gumbel_softmax": (*BERNOULLI, "bridge=gumbel_softmax"),
    "Bernoulli, relax": (*BERNOULLI, "bridge=relax"),
    "threshold, straight_through": (*THRESHOLD, "bridge=straight_through"),
    "threshold, score_function": (
        *THRESHOLD,
        "bridge=score_function",
        "bridge.sigma=0.1",
    ),
    "threshold, finite_difference": (
        *THRESHOLD,
        "bridge=finite_difference",
        "bridge.step=0.1",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--only", default="", help="trainings whose name contains this")
    parser.add_argument("--width", type=int, default=32, help="of both networks")
    parser.add_argument("--data", default="data")
    options = parser.parse_args()
    print(
        "| training | distance, each seed | mean | queries |\n| --- | --- | --- | --- |"
    )
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, settings) in enumerate(TRAININGS.items()):
            if options.only not in name:
                continue
            summaries = []
            drawn = "experiment=binary_mnist" in settings
            generator = "generator.network" if drawn else "generator"
            for seed in options.seeds:
                run = train(
                    Path(folder),
                    f"run-{number}-{seed}",
                    *(*settings, f"seed={seed}"),
                    f"max_iterations={options.iterations}",
                    f"data.root={Path(options.data).resolve()}",
                    f"callbacks.quality.every_n_iterations={options.iterations}",
                    f"{generator}.width={options.width}",
                    f"discriminator.width={options.width}",
                    "callbacks.collapse_alarm=null",
                    "callbacks.gradient_flow=null",
                    "callbacks.sample_grid=null",
                )
                summaries.append(json.loads((run / "summary.json").read_text()))
            distances = [s["quality"]["frechet_distance"] for s in summaries]
            queries = f"{summaries[0]['queries']:,}"
            print(f"| {name} | {listed(distances, 1)} | {queries} |", flush=True)


if __name__ == "__main__":
    main()
