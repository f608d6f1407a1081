"""Effective modes and spread against answers on paper."""

import pytest
import torch

from gan_gradflow.metrics.diversity import DiversityGauge

SQUARE = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]).double()


def at_corners(*counts: int) -> torch.Tensor:
    """So many samples at each corner of a square."""
    return SQUARE.repeat_interleave(torch.tensor(counts), 0)


@pytest.fixture
def gauge() -> DiversityGauge:
    return DiversityGauge(at_corners(6, 6, 6, 6)[None])


@pytest.mark.parametrize("modes", [1, 2, 3, 4])
def test_equally_frequent_groups_are_counted(gauge, modes) -> None:
    samples = at_corners(*[12 // modes] * modes, *[0] * (4 - modes))
    assert gauge.measure(samples).modes == pytest.approx(modes, rel=0.01)


def test_a_rare_mode_counts_less_than_a_frequent_one(gauge) -> None:
    shares = torch.tensor([18, 2, 2, 2]) / 24
    entropy = -(shares * shares.log()).sum()
    found = gauge.measure(at_corners(18, 2, 2, 2)).modes
    assert found == pytest.approx(float(entropy.exp()), rel=0.01)


def test_the_spread_is_the_mean_distance_of_pairs(gauge) -> None:
    found = gauge.measure(SQUARE).spread
    assert found == pytest.approx((4 + 2 * 2**0.5) / 6)


def test_a_ring_of_eight_has_eight_modes() -> None:
    angles = torch.arange(256) * torch.pi / 4
    ring = torch.stack([angles.cos(), angles.sin()], 1) + 0.01 * torch.randn(256, 2)
    gauge = DiversityGauge(ring[None])
    assert gauge.reals.modes == pytest.approx(8, rel=0.02)
    gauge.bandwidth *= 4
    assert gauge.measure(ring).modes == pytest.approx(3, rel=0.1)


def test_reals_have_a_share_of_one(gauge) -> None:
    assert gauge.share(at_corners(6, 6, 6, 6)) == pytest.approx((1, 1))


def test_shares_do_not_depend_on_units_or_place(gauge) -> None:
    fakes = torch.rand(24, 2).double()
    moved = DiversityGauge(100 * at_corners(6, 6, 6, 6)[None] - 7)
    assert moved.share(100 * fakes - 7) == pytest.approx(gauge.share(fakes))


def test_reals_without_a_scale_are_refused() -> None:
    with pytest.raises(ValueError, match="alike"):
        DiversityGauge(torch.ones(1, 5, 2))
    with pytest.raises(ValueError, match="at least 2"):
        DiversityGauge(torch.ones(1, 1, 2))
