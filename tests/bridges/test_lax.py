"""LAX: between the score function and the pathwise gradient."""

import pytest
import torch
from conformance import Oracle
from problems import FLOAT, VARIANCES, Linear, pull
from test_relax import Known
from torch.distributions import (
    Categorical,
    Independent,
    MultivariateNormal,
    Normal,
)

from gan_gradflow.bridges.lax import LAXBridge
from gan_gradflow.critic import Critic

MU, SIGMA = 1.0, 1.5
QUANTILES = Normal(0.0, 1.0).icdf((torch.arange(4000, dtype=FLOAT) + 0.5) / 4000)


def bridge(num_draws=1, learning_rate=1e-2):
    return LAXBridge(num_draws, 0.5, 16, learning_rate)


@pytest.mark.parametrize("case", VARIANCES.values(), ids=VARIANCES.keys())
def test_with_the_loss_itself_it_is_the_pathwise_gradient(case, monkeypatch):
    function, *_, pathwise = case
    mean = torch.full_like(QUANTILES, MU, requires_grad=True)
    monkeypatch.setattr(
        Normal, "rsample", lambda self, shape: (self.loc + SIGMA * QUANTILES)[None]
    )
    lax = bridge().eval()
    lax.network = Known(lambda inputs: function(inputs[..., 0]))
    losses = lax(Critic(function), Normal(mean, SIGMA))
    (found,) = torch.autograd.grad(losses.sum(), mean)
    assert found.var(correction=0) == pytest.approx(pathwise, rel=0.02)


def test_learning_lowers_the_variance():
    # Single draws of a quadratic in one dimension, before and after 600 calls.
    x, critic = torch.zeros(512, 1), Critic(lambda x: (x[:, 0] - 2) ** 2)
    lax = bridge()

    def variance():
        return pull(lax.eval(), critic, x.repeat(8, 1), seed=1)[1].var()

    before = variance()
    for seed in range(600):
        pull(lax.train(), critic, x, seed)
    assert variance() < before / 4


def test_a_covariance_may_be_given_in_any_form():
    mean = torch.zeros(4, 2, requires_grad=True)
    covariance = torch.eye(2).expand(4, 2, 2).clone().requires_grad_()
    emission = MultivariateNormal(mean, covariance)
    bridge(2)(Critic(Linear()), emission).sum().backward()
    assert mean.grad.any()
    assert covariance.grad.isfinite().all()


def test_draws_that_are_no_functions_of_noise_are_refused():
    oracle = Oracle(Linear())
    for emission in (Categorical(torch.ones(3, 2)), Independent(_bernoulli(), 1)):
        with pytest.raises(ValueError, match="choose relax"):
            bridge()(Critic(oracle), emission)
    assert not oracle.seen


def _bernoulli():
    return torch.distributions.Bernoulli(torch.full((3, 2), 0.5))
