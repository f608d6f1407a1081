"""Simulators against what theory says of them."""

import numpy as np
import pytest

from gan_gradflow.simulators.collider import ColliderSimulator, asymmetry
from gan_gradflow.simulators.poisson import PoissonSimulator


def test_counts_have_the_mean_and_variance_of_the_rate():
    counts = PoissonSimulator()(np.full((100_000, 1), np.log(7)), 0)
    # Standard errors 0.008 and 0.03.
    assert abs(counts.mean() - 7) < 0.05
    assert abs(counts.var() - 7) < 0.2


@pytest.mark.parametrize(("energy", "fermi"), [(42.0, 0.9), (45.6, 1.0), (50.0, 1.2)])
def test_angles_have_the_asymmetry_of_the_cross_section(energy, fermi):
    cosines = ColliderSimulator()(np.tile([energy, fermi], (100_000, 1)), 0)
    (slope,) = asymmetry(np.array([energy]), np.array([fermi]))
    # The mean of c under 3/8 (1 + c^2 + slope c) is slope / 4; standard error 0.002.
    assert abs(cosines.mean() - slope / 4) < 0.012
    # And of c^2 it is 2/5, whatever the slope.
    assert abs((cosines**2).mean() - 0.4) < 0.006


def test_the_photon_alone_is_symmetric_and_the_z_turns_the_sign():
    below, pole, above = asymmetry(np.array([42.0, 45.6, 50.0]), np.ones(3))
    assert asymmetry(np.array([42.0]), np.array([0.0])) == 0
    assert below < -0.3
    assert abs(pole) < 0.1
    assert above > 0.3


@pytest.mark.parametrize("simulator", [PoissonSimulator(), ColliderSimulator()])
def test_the_seed_says_it_all(simulator):
    dim = 1 if isinstance(simulator, PoissonSimulator) else 2
    parameters = np.tile([40.0, 1.0][-dim:], (50, 1))
    first, again, other = (simulator(parameters, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (50, 1)
