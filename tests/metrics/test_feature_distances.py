"""The distances between sets of features, against their formulas."""

import pytest
import torch

from gan_gradflow.metrics.frechet import FrechetDistance
from gan_gradflow.metrics.kernel_distance import KernelDistance
from gan_gradflow.metrics.memorisation import FLOOR, memorisation


def test_the_frechet_distance_of_shifted_and_stretched_features() -> None:
    # The same cloud, moved by (3, 0) and twice as wide: 9 + tr(S) (2 - 1)^2.
    reals = torch.randn(500, 2, dtype=torch.float64)
    spread = reals.var(0).sum().item()
    shift = torch.tensor([3.0, 0.0]) + reals.mean(0)
    fakes = 2 * (reals - reals.mean(0)) + shift
    assert FrechetDistance(reals)(fakes) == pytest.approx(9 + spread, rel=1e-9)


@pytest.mark.parametrize("count", [1, 3])
def test_too_few_samples_for_a_covariance_are_refused(count) -> None:
    with pytest.raises(ValueError, match=f"{count} reals .* 3 features; at least 4"):
        FrechetDistance(torch.randn(count, 3))
    with pytest.raises(ValueError, match=f"{count} fakes .* raise num_samples"):
        FrechetDistance(torch.randn(9, 3))(torch.randn(count, 3))


def test_the_kernel_distance_is_the_unbiased_discrepancy() -> None:
    reals, fakes = torch.randn(8, 3).double(), 1 + torch.randn(8, 3).double()

    def kernel(x, y):
        return (x @ y.T / 3 + 1) ** 3

    def among(x):
        k = kernel(x, x)
        return (k.sum() - k.trace()) / (len(x) * (len(x) - 1))

    expected = among(reals) + among(fakes) - 2 * kernel(reals, fakes).mean()
    found = KernelDistance(reals, num_subsets=2, subset_size=8)(fakes)
    assert found == pytest.approx(expected.item(), rel=1e-9)


def test_the_kernel_distance_repeats_and_leaves_the_random_state() -> None:
    distance = KernelDistance(torch.randn(50, 3), num_subsets=3, subset_size=10)
    fakes, before = torch.randn(50, 3), torch.get_rng_state()
    assert distance(fakes) == distance(fakes)
    assert torch.equal(torch.get_rng_state(), before)


def test_copies_are_nearer_than_the_reals_and_noise_is_not() -> None:
    reals = torch.arange(1.0, 101)
    copies, noise = torch.zeros(10), torch.full((10,), 1e3)
    assert memorisation(copies, reals) == {"nearer_than_reals": 1, "copied": 1}
    assert memorisation(noise, reals) == {"nearer_than_reals": 0, "copied": 0}
    assert memorisation(reals, reals) == FLOOR


def test_a_few_copies_show_in_the_share_that_is_copied() -> None:
    reals = torch.arange(1.0, 101)
    fakes = torch.cat([reals[10:], torch.zeros(10)])
    figures = memorisation(fakes, reals)
    assert figures["copied"] == pytest.approx(0.1)
    assert figures["nearer_than_reals"] == pytest.approx(0.9 * 0.45 + 0.1)
