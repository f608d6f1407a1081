"""A generator trained through JPEG, against one that knows nothing of it.

    python benchmarks/jpeg.py --seeds 1 2 3
    python benchmarks/jpeg.py --iterations 1000 --width 16 --digits 3

Both with the same bridge, queries and iterations; both are judged by what is left after
JPEG of 10 000 samples: grey digits by their distance from held-out ones, clean and after
JPEG, three digits as colours (of which JPEG keeps half the resolution) by their
combinations, see docs/metrics.md. Beside it stands what JPEG does to reals.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from runs import listed, train

from gan_gradflow.channels.jpeg import JPEGChannel
from gan_gradflow.cli.sample import load_generator
from gan_gradflow.datamodules.mnist import MNISTDataModule
from gan_gradflow.datamodules.stacked_mnist import StackedMNISTDataModule
from gan_gradflow.metrics.base import SampleQuality
from gan_gradflow.metrics.classifier_features import ClassifierFeatures
from gan_gradflow.metrics.frechet import FrechetDistance
from gan_gradflow.metrics.stacked_digits import StackedDigits

TRAININGS = {
    "without the channel": ("channel=identity",),
    "through JPEG, clean reals": ("channel=jpeg", "channel.on_reals=false"),
    "through JPEG, reals through JPEG": ("channel=jpeg", "channel.on_reals=true"),
}
DATA = {
    1: lambda root: (
        MNISTDataModule(root, [1, 28, 28], 64, 1, 1, 1),
        ClassifierFeatures(10_000, 0.01),
    ),
    3: lambda root: (
        StackedMNISTDataModule(root, 1, 10_000, [3, 28, 28], 64, 1, 1, 1),
        StackedDigits(10_000),
    ),
}


def judges(
    metric: SampleQuality, reals: torch.Tensor, jpeg: JPEGChannel
) -> dict[str, Callable[[torch.Tensor], float]]:
    """The metric's figure, and for grey digits also the distance from reals after JPEG."""
    found = {metric.primary: lambda fakes: metric(fakes)[metric.primary]}
    if isinstance(metric, ClassifierFeatures):
        distance = FrechetDistance(metric.features(jpeg(reals)))
        found["from reals after JPEG"] = lambda fakes: distance(metric.features(fakes))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--quality", type=int, default=30)
    parser.add_argument("--digits", type=int, choices=(1, 3), default=1)
    parser.add_argument("--only", default="", help="trainings whose name contains this")
    parser.add_argument("--width", type=int, default=32, help="of both networks")
    parser.add_argument("--bridge", nargs="+", default=["bridge=straight_through"])
    parser.add_argument("--data", default="data")
    options = parser.parse_args()
    data, metric = DATA[options.digits](options.data)
    data.setup()
    metric.prepare(data)
    jpeg = JPEGChannel(options.quality, on_reals=False, on_samples=True)
    reals = data.held_out_floats(slice(None))
    figures_of = judges(metric, reals, jpeg)
    print(f"reals: {metric(reals)}\nafter JPEG: {metric(jpeg(reals))}\n", flush=True)
    head = " | ".join(f"{name}, each seed | mean" for name in figures_of)
    print(
        f"| training | {head} |\n| --- {'| --- | --- ' * len(figures_of)}|", flush=True
    )
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, channel) in enumerate(TRAININGS.items()):
            if options.only not in name:
                continue
            figures: dict[str, list[float]] = {title: [] for title in figures_of}
            for seed in options.seeds:
                quality = (f"channel.quality={options.quality}",) if number else ()
                run = train(
                    Path(folder),
                    f"run-{number}-{seed}",
                    *(*options.bridge, *channel, *quality, f"seed={seed}"),
                    f"data={'mnist' if options.digits == 1 else 'stacked_mnist'}",
                    "metrics=none",
                    f"max_iterations={options.iterations}",
                    f"data.root={Path(options.data).resolve()}",
                    f"generator.width={options.width}",
                    f"discriminator.width={options.width}",
                    "callbacks.quality.every_n_iterations=100000",
                    "callbacks.gradient_flow=null",
                    "callbacks.sample_grid=null",
                    "callbacks.collapse_alarm=null",
                )
                generator = load_generator(str(run / "checkpoints/last.ckpt"), [])
                generator.channel = jpeg
                latents = torch.randn(
                    10_000, 64, generator=torch.Generator().manual_seed(0)
                )
                fakes = generator.sample(latents, averaged=True)
                for title, judge in figures_of.items():
                    figures[title].append(judge(fakes))
            cells = " | ".join(listed(column, 2) for column in figures.values())
            print(f"| {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
