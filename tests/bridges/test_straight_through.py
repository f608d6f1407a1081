"""Straight-through: what the critic sees is hard, what comes back is its own gradient."""

import pytest
import torch
from conformance import Oracle
from problems import FLOAT, Linear, Separable, pull
from torch.distributions import (
    Bernoulli,
    Categorical,
    Independent,
    Normal,
    OneHotCategorical,
)

from gan_gradflow.bridges.straight_through import StraightThroughBridge
from gan_gradflow.critic import Critic

CHANCES = torch.tensor([0.2, 0.5, 0.3], dtype=FLOAT)


def test_a_rounded_tensor_has_the_gradient_of_what_it_is_rounded_to():
    x = torch.tensor([[0.26, -0.9], [0.24, 1.1]], dtype=FLOAT)
    bridge, rounded = (
        StraightThroughBridge(0.5),
        torch.tensor([[0.5, -1.0], [0.0, 1.0]]),
    )
    losses, found = pull(bridge, Critic(Separable()), x)
    torch.testing.assert_close(losses, Separable()(rounded.double()))
    torch.testing.assert_close(found, Separable().gradient(rounded.double()))
    assert torch.equal(bridge.exposed(x), rounded.double())


@pytest.mark.parametrize("kind", [Bernoulli, OneHotCategorical])
def test_a_linear_loss_has_its_exact_gradient_in_the_chances(kind):
    chances = CHANCES.expand(4, 3).clone().requires_grad_()
    emission = kind(chances)
    emission = Independent(emission, 1) if kind is Bernoulli else emission
    oracle = Oracle(Linear())
    (found,) = torch.autograd.grad(
        StraightThroughBridge(None)(Critic(oracle), emission).sum(), chances
    )
    weight = Linear().weight(chances)
    # The chances of a categorical are divided by their sum.
    expected = weight if kind is Bernoulli else weight - weight @ CHANCES
    torch.testing.assert_close(found, expected.expand(4, 3))
    assert set(oracle.seen[0].flatten().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize(
    "emission", [Categorical(CHANCES.expand(4, 3)), Normal(torch.zeros(4), 1.0)]
)
def test_draws_that_are_no_zeros_and_ones_are_an_error(emission):
    with pytest.raises(ValueError, match="takes Bernoulli and OneHotCategorical"):
        StraightThroughBridge(None)(Critic(Linear()), emission)


@pytest.mark.parametrize("spacing", [0.0, -1.0, float("nan")])
def test_a_spacing_is_positive(spacing):
    with pytest.raises(ValueError, match="spacing must be positive"):
        StraightThroughBridge(spacing)
