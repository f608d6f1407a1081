"""A generator trained through JPEG, against one that knows nothing of it.

    python benchmarks/jpeg.py --quality 30 --iterations 1000 --width 16

Both with the same bridge, queries and iterations; both are judged by what is left after
JPEG, 10 000 digits against clean held-out ones. Beside it stands what JPEG does to reals:
all that there is to gain.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from runs import listed, train

from gan_gradflow.channels.jpeg import JPEGChannel
from gan_gradflow.cli.sample import load_generator
from gan_gradflow.datamodules.mnist import MNISTDataModule
from gan_gradflow.metrics.classifier_features import ClassifierFeatures

TRAININGS = {
    "without the channel": ("channel=identity",),
    "through JPEG, clean reals": ("channel=jpeg", "channel.on_reals=false"),
    "through JPEG, reals through JPEG": ("channel=jpeg", "channel.on_reals=true"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--quality", type=int, default=30)
    parser.add_argument("--width", type=int, default=32, help="of both networks")
    parser.add_argument("--bridge", nargs="+", default=["bridge=straight_through"])
    parser.add_argument("--data", default="data")
    options = parser.parse_args()
    digits = MNISTDataModule(options.data, [1, 28, 28], 64, 1, 1, 1)
    digits.setup()
    metric = ClassifierFeatures(10_000, 0.01)
    metric.prepare(digits)
    jpeg = JPEGChannel(options.quality, on_reals=False, on_samples=True)
    reals = metric(jpeg(digits.held_out_floats(slice(None))))["frechet_distance"]
    print(f"reals after JPEG: {reals:.1f}\n", flush=True)
    print("| training | distance after JPEG, each seed | mean |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, channel) in enumerate(TRAININGS.items()):
            distances = []
            for seed in options.seeds:
                quality = (f"channel.quality={options.quality}",) if number else ()
                run = train(
                    Path(folder),
                    f"run-{number}-{seed}",
                    *(*options.bridge, *channel, *quality, f"seed={seed}"),
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
                distances.append(metric(fakes)["frechet_distance"])
            print(f"| {name} | {listed(distances, 1)} |", flush=True)


if __name__ == "__main__":
    main()
