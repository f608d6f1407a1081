"""Gumbel-softmax: what the critic sees, and what its bias does as it cools."""

import pytest
import torch
from conformance import Oracle
from problems import FLOAT, Linear
from torch.distributions import Bernoulli, Categorical, Independent, OneHotCategorical

from gan_gradflow.bridges.gumbel_softmax import GumbelSoftmaxBridge
from gan_gradflow.critic import Critic

LOGITS = torch.tensor([0.4, -0.3, 1.2], dtype=FLOAT)


def emission_of(kind, logits):
    return (
        Independent(kind(logits=logits), 1)
        if kind is Bernoulli
        else kind(logits=logits)
    )


def seen_by_the_critic(kind, temperature, hard, batch=20_000):
    oracle = Oracle(Linear())
    logits = LOGITS.expand(batch, 3).clone().requires_grad_()
    bridge = GumbelSoftmaxBridge(temperature, hard)
    torch.manual_seed(0)
    losses = bridge(Critic(oracle), emission_of(kind, logits))
    return oracle.seen[0].detach(), torch.autograd.grad(losses.sum(), logits)[0]


@pytest.mark.parametrize("kind", [Bernoulli, OneHotCategorical])
def test_hard_draws_are_hard_and_have_their_chances(kind):
    # Six standard errors over 20 000 draws: a chance off by 0.03 is caught for certain.
    seen, _ = seen_by_the_critic(kind, 0.5, hard=True)
    assert set(seen.flatten().tolist()) == {0.0, 1.0}
    chances = emission_of(kind, LOGITS.view(1, 3)).mean[0]
    assert ((seen.mean(0) - chances).abs() < 6 * 0.5 / len(seen) ** 0.5).all()


@pytest.mark.parametrize("kind", [Bernoulli, OneHotCategorical])
@pytest.mark.parametrize("hard", [True, False])
def test_the_bias_vanishes_as_it_cools(kind, hard):
    one = LOGITS.view(1, 3).clone().requires_grad_()
    mean = emission_of(kind, one).mean
    (truth,) = torch.autograd.grad(Linear()(mean).sum(), one)

    def bias(temperature):
        _, found = seen_by_the_critic(kind, temperature, hard)
        return (found.mean(0) - truth[0]).norm() / truth.norm()

    assert bias(2.0) > 0.2
    assert bias(0.2) < 0.1


@pytest.mark.parametrize("kind", [Bernoulli, OneHotCategorical])
def test_soft_draws_lie_between_zero_and_one(kind):
    seen, _ = seen_by_the_critic(kind, 0.5, hard=False)
    assert ((seen > 0) & (seen < 1)).any()
    if kind is OneHotCategorical:
        torch.testing.assert_close(seen.sum(1), torch.ones(len(seen), dtype=FLOAT))


@pytest.mark.parametrize("hard", [True, False])
def test_the_discriminator_sees_draws_as_the_critic_does(hard):
    emission = OneHotCategorical(logits=LOGITS.expand(64, 3).clone().requires_grad_())
    exposed = GumbelSoftmaxBridge(0.5, hard).exposed(emission)
    assert not exposed.requires_grad
    assert (set(exposed.flatten().tolist()) <= {0.0, 1.0}) is hard


def test_integers_are_an_error():
    with pytest.raises(ValueError, match="emit one-hot draws for integers"):
        GumbelSoftmaxBridge(0.5, False)(
            Critic(Linear()), Categorical(logits=LOGITS[None])
        )


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_is_positive(temperature):
    with pytest.raises(ValueError, match="temperature must be positive"):
        GumbelSoftmaxBridge(temperature, False)
