"""Stacks of digits: which digits, and what they are called."""

from pathlib import Path

import pytest
import torch

from gan_gradflow.datamodules.mnist import MNISTDataModule
from gan_gradflow.datamodules.stacked_mnist import StackedMNISTDataModule

RUN = {"batch_size": 8, "seed": 1, "num_iterations": 1, "batches_per_iteration": 1}
ROOT = str(Path(__file__).parents[2] / "data")


def stacked(channels=3, num_train=200, num_held_out=50, **changes):
    data = StackedMNISTDataModule(
        ROOT, num_train, num_held_out, [channels, 28, 28], **(RUN | changes)
    )
    data.setup()
    return data


def test_every_channel_is_a_digit_of_the_class_in_its_place():
    digits = MNISTDataModule(ROOT, [1, 28, 28], **RUN)
    digits.setup()
    number_of = {image.numpy().tobytes(): k for k, image in enumerate(digits.held_out)}
    data = stacked(channels=2)
    assert data.held_out.shape == (50, 2, 28, 28)
    for stack, label in zip(data.held_out, data.held_out_labels, strict=True):
        rows = [number_of[channel.numpy().tobytes()] for channel in stack]
        low, high = digits.held_out_labels[rows]
        assert label == low + 10 * high


def test_digits_follow_the_seed():
    first, same, other = stacked(), stacked(), stacked(seed=2)
    assert torch.equal(first.train_reals, same.train_reals)
    assert not torch.equal(first.train_labels, other.train_labels)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"num_train": 0}, "at least 1, got 0 and 50")],
)
def test_numbers_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        stacked(**changes)


def test_a_shape_without_digits_is_refused():
    with pytest.raises(ValueError, match=r"got \[3, 32, 32\]; use .*\[3,28,28\]"):
        StackedMNISTDataModule(ROOT, 9, 9, [3, 32, 32], **RUN)
