"""Finite differences against their expectation, enumerated, and their bias, on paper."""

import pytest
import torch
from conformance import Oracle, build
from problems import FLOAT, Coupled, Cubic, Linear, every_gaussian, every_sign, pull
from torch.distributions import Normal

from gan_gradflow.bridges import directions as module
from gan_gradflow.bridges.directions import (
    CoordinateDirections,
    GaussianDirections,
    OrthonormalDirections,
    RademacherDirections,
    SphereDirections,
)
from gan_gradflow.bridges.finite_difference import FiniteDifferenceBridge
from gan_gradflow.critic import Critic

POINTS = torch.tensor([[0.3, -0.7, 1.1], [-2.0, 0.5, 0.1]], dtype=FLOAT)
STEP = 0.25
both = pytest.mark.parametrize("central", [True, False])
coordinates = CoordinateDirections()


def difference(directions, central, step=STEP):
    return FiniteDifferenceBridge(directions, central, step)


def bias(directions, central, critic, points=POINTS):
    _, found = pull(difference(directions, central), Critic(critic), points)
    return found - critic.gradient(points)


# Expectation and bias


@both
def test_the_bias_along_signs_is_that_of_spsa(central):
    # Exact on a cubic: the next term holds fifth derivatives.
    expected = STEP**2 / 6 * Cubic.spsa.expand(2, 3)
    torch.testing.assert_close(bias(every_sign(3), central, Cubic()), expected)


@both
def test_the_bias_along_gaussian_directions_is_that_of_smoothing(central):
    expected = STEP**2 / 2 * Cubic.laplacian.expand(2, 3)
    torch.testing.assert_close(bias(every_gaussian(3), central, Cubic()), expected)


def test_the_bias_of_central_differences_along_coordinates():
    third = torch.tensor([6.0, 0, 0], dtype=FLOAT)
    expected = STEP**2 / 6 * third.expand(2, 3)
    torch.testing.assert_close(bias(coordinates, True, Cubic()), expected)


@pytest.mark.parametrize("directions", [coordinates, every_sign(3), every_gaussian(3)])
def test_central_differences_are_exact_on_quadratics(directions):
    found = bias(directions, True, Coupled(3))
    torch.testing.assert_close(found, torch.zeros_like(POINTS))


def test_the_bias_of_forward_differences_along_coordinates_is_first_order():
    expected = STEP / 2 * Coupled(3).a.diagonal().expand(2, 3)
    torch.testing.assert_close(bias(coordinates, False, Coupled(3)), expected)


@both
@pytest.mark.parametrize(
    "family",
    [GaussianDirections, OrthonormalDirections, RademacherDirections, SphereDirections],
)
def test_the_scale_is_one(family, central):
    # Six standard errors over 40 000 samples fail a right bridge with probability 2e-9;
    # an error of 5 % in the scale is caught with the same certainty.
    x = torch.randn(40_000, 6, dtype=FLOAT)
    _, found = pull(difference(family(4), central), Critic(Linear()), x)
    weight = Linear().weight(x)
    scale = found @ weight / weight.dot(weight)
    error = 6 * scale.std() / len(x) ** 0.5
    assert error < 0.025
    assert (scale.mean() - 1).abs() < error


def test_a_layer_trained_from_scores():
    weights, inputs = torch.tensor([[0.5, 0.2]], dtype=FLOAT), torch.tensor([1.0, 2.0])
    critic = Critic(lambda w: (w @ inputs.to(w) - 1) ** 2)
    for central, expected in [(False, [[-0.199, -0.396]]), (True, [[-0.2, -0.4]])]:
        _, found = pull(difference(coordinates, central, 1e-3), critic, weights)
        torch.testing.assert_close(found, torch.tensor(expected, dtype=FLOAT))


# Value


def test_the_value_of_forward_differences_is_the_loss_to_the_last_bit():
    losses, _ = pull(difference(GaussianDirections(4), False), Critic(Cubic()), POINTS)
    assert torch.equal(losses, Cubic()(POINTS))


def test_the_value_of_central_differences_is_off_by_the_curvature():
    losses, _ = pull(difference(coordinates, True), Critic(Coupled(3)), POINTS)
    expected = Coupled(3)(POINTS) + STEP**2 / 2 * Coupled(3).a.diagonal().mean()
    torch.testing.assert_close(losses, expected)


# Queries


@both
def test_coordinates_cost_queries_by_the_dimension(central):
    critic = Critic(Cubic())
    pull(difference(coordinates, central), critic, POINTS)
    per_sample = difference(coordinates, central).queries_per_sample(3)
    assert critic.queries == 2 * per_sample == 2 * (6 if central else 4)


def test_samples_are_shifted_by_the_step_both_ways():
    oracle = Oracle(Cubic())
    pull(difference(RademacherDirections(1), True), Critic(oracle), POINTS)
    above, below = oracle.seen[0].unflatten(0, (2, 2))
    torch.testing.assert_close((above + below) / 2, POINTS)
    torch.testing.assert_close((above - below).abs(), torch.full_like(POINTS, 2 * STEP))


@both
def test_blocks_change_nothing(central, monkeypatch):
    bridge = difference(coordinates, central)
    expected = pull(bridge, Critic(Cubic()), POINTS)
    monkeypatch.setattr(module, "_BLOCK_ELEMENTS", 1)
    torch.testing.assert_close(pull(bridge, Critic(Cubic()), POINTS), expected)


@both
@pytest.mark.parametrize("family", [GaussianDirections, RademacherDirections])
@pytest.mark.parametrize("elements", [1, 2 * 64, 4 * 64])
def test_a_batch_of_64_numbers_gets_the_same_pull_in_any_blocks(
    central, family, elements, monkeypatch
):
    # A random stream goes on where the last block ended, and sums go on from the last.
    bridge = difference(family(7), central)
    x = torch.linspace(-1, 1, 64).view(16, 4)
    expected = pull(bridge, Critic(Linear()), x)
    monkeypatch.setattr(module, "_BLOCK_ELEMENTS", elements)
    found = pull(bridge, Critic(Linear()), x)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


# Steps


@both
@pytest.mark.parametrize(
    ("dtype", "forward_error", "central_error"),
    [
        (torch.bfloat16, 0.3, 0.1),
        (torch.float16, 0.1, 0.03),
        (torch.float32, 5e-3, 1e-3),
        (torch.float64, 1e-7, 3e-10),
    ],
)
@pytest.mark.parametrize("directions", [coordinates, None])
def test_default_steps_suit_the_precision(
    dtype, central, forward_error, central_error, directions
):
    # Twice or more what benchmarks/steps.py measures. Rescaled, signs are like the
    # random directions: of length sqrt(d).
    x = torch.linspace(-1, 1, 64, dtype=FLOAT).view(8, 8)
    weight = torch.linspace(-1, 1, 64, dtype=FLOAT).view(8, 8).sin() / 8**0.5
    critic = Critic(lambda x: torch.tanh(x @ weight.to(x)).sum(1) / 8**0.5)
    directions = directions or every_sign(8)
    _, truth = pull(build(("+bridge=exact",)), critic, x.to(dtype).double())
    _, found = pull(difference(directions, central, None), critic, x.to(dtype))
    error = (found - truth).norm() / truth.norm()
    assert error < (central_error if central else forward_error)


def test_autocast_takes_the_step_of_its_own_precision():
    bridge, x = difference(coordinates, True, None), torch.zeros(1, 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert bridge.step_for(x) == bridge.step_for(x.bfloat16())
        assert bridge.step_for(x.double()) < bridge.step_for(x)


def test_a_given_step_is_the_step():
    assert difference(coordinates, True, 0.125).step_for(POINTS) == 0.125


# Traits and errors


def test_coordinates_are_deterministic_and_draws_are_not():
    assert difference(coordinates, True).traits.deterministic
    assert not difference(GaussianDirections(1), True).traits.deterministic
    assert not FiniteDifferenceBridge.traits.deterministic


@pytest.mark.parametrize("step", [0.0, -1.0, float("nan")])
def test_a_step_is_positive(step):
    with pytest.raises(ValueError, match=f"step must be positive, got {step}"):
        difference(coordinates, True, step)


def test_distributions_belong_to_the_score_function():
    with pytest.raises(ValueError, match="choose score_function"):
        difference(coordinates, True)(Critic(Linear()), Normal(torch.zeros(2), 1.0))
