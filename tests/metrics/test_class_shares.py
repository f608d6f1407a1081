"""Shares of classes, also where a class has no reals."""

import math

import pytest
import torch

from gan_gradflow.metrics.classes import class_figures


def figures(fakes: list[int], real_shares: list[float]) -> dict[str, float]:
    """Those of sure fakes of these classes."""
    probabilities = torch.eye(len(real_shares))[fakes]
    shares = torch.tensor(real_shares, dtype=torch.float64)
    return class_figures(probabilities, shares, min_class_share=0.1)


def test_a_class_without_fakes_is_uncovered_and_adds_nothing_of_its_own() -> None:
    found = figures([0, 0, 1, 1], [0.25, 0.25, 0.25, 0.25])
    assert found["class_coverage"] == 0.5
    assert found["class_kl"] == pytest.approx(math.log(2))


def test_a_class_without_reals_need_not_be_covered() -> None:
    found = figures([0, 0, 1, 1], [0.5, 0.5, 0.0, 0.0])
    assert found["class_coverage"] == 1


def test_fakes_of_a_class_without_reals_add_something_finite() -> None:
    found = figures([0, 0, 0, 1], [1.0, 0.0])
    # q = (1, 1/4) / (5/4)
    expected = 0.75 * math.log(0.75 / 0.8) + 0.25 * math.log(0.25 / 0.2)
    assert found["class_kl"] == pytest.approx(expected)
    assert figures([1, 1, 1, 1], [1.0, 0.0])["class_kl"] > found["class_kl"] > 0
