"""The samples are checked against the mixture they claim to be drawn from.

With 40 000 samples, each test below fails a correct sampler with a chance under 1e-6 (5
standard errors), and catches the smallest error that its comment names.
"""

import pytest
import torch

from gan_gradflow.datamodules.grid import GridDataModule
from gan_gradflow.datamodules.ring import RingDataModule

REST = {
    "num_train": 40_000,
    "num_held_out": 100,
    "event_shape": (2,),
    "batch_size": 100,
    "seed": 0,
    "num_iterations": 1,
    "batches_per_iteration": 1,
}


def ring(**changes):
    return RingDataModule(
        **({"num_modes": 8, "radius": 1.0, "sigma": 0.01} | REST | changes)
    )


def grid(**changes):
    return GridDataModule(
        **({"side": 5, "spacing": 2.0, "sigma": 0.05} | REST | changes)
    )


def test_the_ring_has_eight_modes_at_radius_one():
    means = ring().means
    assert means.shape == (8, 2)
    assert means[0].tolist() == [1, 0]
    assert torch.allclose(means[2], torch.tensor([0.0, 1.0]), atol=1e-6)
    assert torch.allclose(means.norm(dim=1), torch.ones(8))


def test_the_grid_has_modes_at_even_numbers():
    levels = [-4.0, -2.0, 0.0, 2.0, 4.0]
    assert grid().means.tolist() == [[x, y] for x in levels for y in levels]


@pytest.mark.parametrize("mixture", [ring, grid])
def test_modes_are_equally_likely(mixture):
    data = mixture()
    num_modes = len(data.means)
    share = data.train_labels.bincount(minlength=num_modes) / 40_000
    error = (1 / num_modes * (1 - 1 / num_modes) / 40_000) ** 0.5
    # 5.7 standard errors, since there are up to 25 modes; catches a share off by 10 %.
    assert (share - 1 / num_modes).abs().max() < 5.7 * error


@pytest.mark.parametrize("mixture", [ring, grid])
def test_samples_spread_around_their_mode_by_sigma(mixture):
    data = mixture()
    noise = (data.train_reals - data.means[data.train_labels]) / data.sigma
    # Catches a bias of 0.035 sigma and a scale off by 2.5 %.
    assert noise.mean(0).abs().max() < 5 / 40_000**0.5
    assert abs(noise.std() - 1) < 5 / (2 * 80_000) ** 0.5


def test_the_seed_decides_the_samples():
    assert torch.equal(ring().train_reals, ring().train_reals)
    assert not torch.equal(ring(seed=1).train_reals, ring().train_reals)


def test_held_out_samples_are_not_training_samples():
    data = ring()
    assert data.held_out.shape == (100, 2)
    assert not torch.equal(data.held_out, data.train_reals[:100])


@pytest.mark.parametrize(
    ("mixture", "change", "message"),
    [
        (ring, {"sigma": 0.0}, "sigma must be positive, got 0.0"),
        (ring, {"num_modes": 0}, "num_modes must be at least 1, got 0"),
        (ring, {"radius": -1.0}, "radius must be positive, got -1.0"),
        (grid, {"side": 0}, "side must be at least 1, got 0"),
        (grid, {"spacing": 0.0}, "spacing must be positive, got 0.0"),
        (grid, {"num_held_out": 0}, "must be at least 1, got 40000 and 0"),
    ],
)
def test_a_mixture_that_cannot_be_is_refused(mixture, change, message):
    with pytest.raises(ValueError, match=message):
        mixture(**change)
