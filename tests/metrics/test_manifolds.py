"""Precision, recall, density and coverage against answers on paper."""

import pytest
import torch

from gan_gradflow.metrics import neighbours
from gan_gradflow.metrics.manifolds import Manifolds

LINE = torch.tensor([[0.0], [1.0], [2.0], [3.0]])  # every ball of k = 1 reaches to 1


def test_four_reals_and_two_fakes_on_a_line() -> None:
    # The fake at 0.5 lies in the balls of 0 and 1, the other in none. The balls of the
    # fakes reach to 9.5 and hold every real.
    figures = Manifolds(LINE, neighbours=1)(torch.tensor([[0.5], [10.0]]))
    assert figures == {"precision": 0.5, "recall": 1.0, "density": 1.0, "coverage": 0.5}


def test_a_collapsed_generator_is_precise_and_covers_little() -> None:
    fakes = torch.full((3, 1), 1.0)  # balls of radius 0, and in the balls of 0, 1 and 2
    figures = Manifolds(LINE, neighbours=1)(fakes)
    assert (figures["precision"], figures["density"]) == (1.0, 3.0)
    assert (figures["recall"], figures["coverage"]) == (0.25, 0.75)


def test_fakes_distributed_as_the_reals_score_what_theory_expects() -> None:
    # Coverage .9688 with a deviation of .004: k = 4 would give .9376.
    figures = Manifolds(torch.randn(2000, 2), 5)(torch.randn(2000, 2))
    assert figures["coverage"] == pytest.approx(0.9688, abs=0.02)
    assert figures["density"] == pytest.approx(1, abs=0.1)


def test_chunks_change_nothing(monkeypatch) -> None:
    reals, fakes = torch.randn(30, 3), torch.randn(40, 3)
    whole = Manifolds(reals, 3)(fakes)
    monkeypatch.setattr(neighbours, "_DISTANCES_AT_ONCE", 70)
    assert Manifolds(reals, 3)(fakes) == whole


def test_a_number_of_neighbours_that_cannot_be_is_named_with_one_that_can() -> None:
    with pytest.raises(ValueError, match="got 0; try 5"):
        Manifolds(LINE, 0)
    with pytest.raises(
        ValueError, match=r"4 reals; hold out more, or use neighbours=3$"
    ):
        Manifolds(LINE, 4)
    manifolds = Manifolds(LINE, 3)
    with pytest.raises(ValueError, match=r"num_samples above 3, or use neighbours=1$"):
        manifolds(LINE[:2])
    with pytest.raises(ValueError, match=r"1 fakes; raise num_samples above 3$"):
        manifolds(LINE[:1])
