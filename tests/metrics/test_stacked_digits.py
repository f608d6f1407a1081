"""Modes of stacked digits, counted on digits whose classes are known."""

import pytest
import torch

from gan_gradflow.metrics.stacked_digits import StackedDigits


class Data:
    """Of which the metric asks the shape alone."""

    train_reals = torch.zeros(0)

    def __init__(self, *event_shape):
        self.event_shape = event_shape

    def train_floats(self, rows):
        return self.train_reals[rows]

    held_out_floats = train_floats


def metric(num_samples, channels=2):
    found = StackedDigits(num_samples)
    found.prepare(Data(channels, 28, 28))
    return found


@pytest.fixture
def classified(monkeypatch):
    """Images whose first pixel is their class, ten times what it shows."""

    def logits(self, images):
        return 100 * torch.nn.functional.one_hot(
            (images[:, 0, 0, 0] * 10).round().long(), 10
        )

    monkeypatch.setattr(
        "gan_gradflow.metrics.mnist_classifier.MNISTClassifier.logits",
        lambda self, images: logits(self, images).float(),
    )


def images(*classes):
    fakes = torch.zeros(len(classes), len(classes[0]), 28, 28)
    fakes[:, :, 0, 0] = torch.tensor(classes) / 10
    return fakes


def test_modes_are_combinations(classified):
    figures = metric(4)(images((1, 2), (2, 1), (1, 2), (9, 9)))
    assert figures["modes"] == 3
    # Shares 1/2, 1/4, 1/4 of a hundred modes.
    expected = 0.5 * torch.tensor(50.0).log() + 0.5 * torch.tensor(25.0).log()
    assert figures["reverse_kl"] == pytest.approx(expected.item())
    assert figures["confidence"] == pytest.approx(1)


def test_every_mode_once_is_no_divergence(classified):
    every = [(high, low) for high in range(10) for low in range(10)]
    figures = metric(100)(images(*every))
    assert (figures["modes"], figures["reverse_kl"]) == (100, pytest.approx(0))


def test_the_floor_is_that_of_even_samples():
    assert metric(26000, 3).floor()["reverse_kl"] == pytest.approx(0.0192, rel=1e-3)
    assert metric(26000, 3).floor()["modes"] == pytest.approx(1000)
    assert metric(2).floor()["modes"] == pytest.approx(1.99)


def test_other_data_and_counts_are_refused():
    with pytest.raises(ValueError, match=r"the data are \[3, 32, 32\]"):
        StackedDigits(2).prepare(Data(3, 32, 32))
    with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
        StackedDigits(0)
