"""A perfect sampler is scored 4000 times, so that its expectations are met closely.

With R repetitions the mean of a figure of standard deviation s has standard error
s / sqrt(R). Tests allow 5 of them: the chance to fail a correct measure is below 1e-6.
"""

import math
from types import SimpleNamespace

import pytest
import torch

from gan_gradflow.metrics.modes import ModeCoverage

LEVELS = torch.arange(-4.0, 5.0, 2.0)
ANGLES = torch.arange(8) * math.pi / 4


class Mixture(SimpleNamespace):
    event_shape = (2,)
    train_reals = torch.zeros(1, 2)

    def train_floats(self, rows):
        return self.train_reals[rows]

    held_out_floats = train_floats

    def draw(self, count):
        modes = torch.randint(len(self.means), (count,))
        return self.means[modes] + self.sigma * torch.randn(count, 2)


RING = Mixture(means=torch.stack([ANGLES.cos(), ANGLES.sin()], 1), sigma=0.01)
GRID = Mixture(means=torch.cartesian_prod(LEVELS, LEVELS), sigma=0.05)


def quality(mixture, num_samples):
    metric = ModeCoverage(num_samples)
    metric.prepare(mixture)
    return metric


@pytest.mark.parametrize(("mixture", "expected_kl"), [(RING, 0.0014), (GRID, 0.0048)])
def test_a_perfect_sampler_scores_the_floor(mixture, expected_kl):
    metric, repetitions = quality(mixture, 2500), 400
    rounds = [metric(mixture.draw(2500)) for _ in range(repetitions)]
    mean = {key: sum(r[key] for r in rounds) / repetitions for key in rounds[0]}
    floor, num_modes = metric.floor(), len(mixture.means)
    assert mean["modes"] == floor["modes"] == num_modes
    # Catches a high-quality share off by 0.0006.
    spread = (0.98889 * 0.01111 / 2500 / repetitions) ** 0.5
    assert abs(mean["high_quality"] - 0.98889) < 5 * spread + 1e-5
    assert floor["high_quality"] == pytest.approx(0.98889, abs=5e-6)
    # Catches a divergence off by 15 % on the ring, by 8 % on the grid.
    assert floor["reverse_kl"] == pytest.approx(expected_kl, abs=5e-5)
    for key, degrees in (("reverse_kl", num_modes - 1), ("cell_kl", num_modes)):
        spread = (2 * degrees / repetitions) ** 0.5 / 5000
        assert abs(mean[key] - floor[key]) < 5 * spread + 0.01 * floor[key]


def test_one_mode_hit_exactly_is_the_worst_reverse_kl():
    figures = quality(RING, 100)(RING.means[:1].expand(100, 2))
    assert figures["modes"] == 1
    assert figures["high_quality"] == 1
    assert figures["reverse_kl"] == pytest.approx(math.log(8))


def test_reverse_kl_counts_each_fake_for_its_nearest_mode():
    fakes = RING.means.repeat(2, 1)
    fakes[0] *= 1.2  # far outside 3 sigma, and nearest to mode 0 all the same
    figures = quality(RING, 16)(fakes)
    assert figures["reverse_kl"] == pytest.approx(0, abs=1e-12)
    assert figures["high_quality"] == 15 / 16


def test_a_mode_without_a_fake_of_high_quality_is_not_covered():
    fakes = RING.means.clone()
    fakes[3] *= 1.2
    assert quality(RING, 8)(fakes)["modes"] == 7


@pytest.mark.parametrize(("sigmas", "covered"), [(2.99, 8), (3.01, 0)])
def test_high_quality_ends_at_three_sigma(sigmas, covered):
    fakes = RING.means * (1 + sigmas * RING.sigma)
    assert quality(RING, 8)(fakes)["modes"] == covered


def test_the_main_figure_rises_with_each_missing_mode():
    fakes = [RING.means[:k].repeat(840 // k, 1) for k in range(8, 0, -1)]
    main = [quality(RING, 840)(some)["cell_kl"] for some in fakes]
    assert main == sorted(set(main))


def test_the_main_figure_rises_with_each_stray_fake():
    fakes, main = RING.means.repeat(100, 1), []
    for strays in (10, 50, 200, 800):
        fakes[:strays] = RING.means.repeat(100, 1)[:strays] * 1.2
        main.append(quality(RING, 800)(fakes)["cell_kl"])
    assert main == sorted(set(main))


def test_the_main_figure_is_zero_for_the_mixtures_own_shares():
    strays = 1111
    fakes = RING.means.repeat(12500, 1)
    fakes[:strays] *= 1.2
    assert quality(RING, 100_000)(fakes)["cell_kl"] == pytest.approx(0, abs=1e-4)


def test_data_without_modes_are_refused():
    data = SimpleNamespace(
        event_shape=(2,), train_reals=torch.zeros(1, 2),
        train_floats=lambda rows: rows, held_out_floats=lambda rows: rows,
    )  # fmt: skip
    with pytest.raises(ValueError, match="data=ring or data=grid, or metrics=none"):
        ModeCoverage(100).prepare(data)


def test_modes_that_overlap_are_refused():
    with pytest.raises(ValueError, match=r"0.765 apart, within 6 sigma = 1.2"):
        quality(Mixture(means=RING.means, sigma=0.2), 100)


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
        ModeCoverage(0)
