"""Train the MNIST classifier behind the sample-quality metrics; overwrite its weights.

    python scripts/train_mnist_classifier.py

About five minutes on two CPU cores. Figures of different weights do not compare, so
train anew only together with a new version of the package.
"""

import os
import time

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from gan_gradflow.datamodules.mnist import MNISTDataModule
from gan_gradflow.metrics.mnist_classifier import WEIGHTS, MNISTClassifier

SEED = 0
EPOCHS = 6
BATCH_SIZE = 128
STEPS_PER_EPOCH = 60_000 // BATCH_SIZE
PEAK_LEARNING_RATE = 4e-3
ROTATION, SHEAR, SCALE, SHIFT = 0.175, 0.1, 0.1, 2 / 14  # radians; shift of two pixels


def main() -> None:
    torch.manual_seed(SEED)
    data = MNISTDataModule(
        root=os.environ.get("GAN_GRADFLOW_DATA", "data"),
        event_shape=(1, 28, 28),
        batch_size=BATCH_SIZE,
        seed=SEED,
        num_iterations=EPOCHS * STEPS_PER_EPOCH,
        batches_per_iteration=1,
    )
    classifier = MNISTClassifier().to(memory_format=torch.channels_last)
    train(classifier, data)
    weights = {
        name: tensor.contiguous() for name, tensor in classifier.state_dict().items()
    }
    save_file(weights, WEIGHTS)
    print(f"{WEIGHTS}: {WEIGHTS.stat().st_size / 1000:.0f} kB")


def train(classifier: MNISTClassifier, data: MNISTDataModule) -> None:
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_LEARNING_RATE, total_steps=data.num_iterations, pct_start=0.2
    )
    start = time.perf_counter()
    for iteration, (reals, labels) in enumerate(data.train_dataloader(), start=1):
        logits = classifier.logits(distorted(reals[0]))
        loss = F.cross_entropy(logits, labels[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if iteration % STEPS_PER_EPOCH == 0:
            print(
                f"epoch {iteration // STEPS_PER_EPOCH}: "
                f"{accuracy(classifier, data):.2%} of the held-out digits, "
                f"{time.perf_counter() - start:.0f} s",
                flush=True,
            )


@torch.no_grad()
def accuracy(classifier: MNISTClassifier, data: MNISTDataModule) -> float:
    classifier.eval()
    images = data.held_out_floats(slice(None))
    logits = torch.cat([classifier.logits(chunk) for chunk in images.split(250)])
    classifier.train()
    return (logits.argmax(1) == data.held_out_labels).float().mean().item()


def distorted(images: Tensor) -> Tensor:
    """Each image turned, sheared, scaled and shifted a little; black comes in."""
    n = len(images)
    angle, shear, scale, right, down = (torch.rand(5, n) * 2 - 1).unbind()
    cos, sin = (angle * ROTATION).cos(), (angle * ROTATION).sin()
    scale = 1 + SCALE * scale
    rows = [
        torch.stack([scale * cos, SHEAR * shear - sin, SHIFT * right], 1),
        torch.stack([sin, scale * cos, SHIFT * down], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    # Padding is zero, and black is -1.
    moved = F.grid_sample(images + 1, grid, align_corners=False) - 1
    return moved.contiguous(memory_format=torch.channels_last)


if __name__ == "__main__":
    main()
