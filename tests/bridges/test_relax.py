"""RELAX against quadrature and enumeration."""

import pytest
import torch
from conformance import Oracle
from problems import FLOAT, Linear, pull
from torch import nn
from torch.distributions import (
    Bernoulli,
    Categorical,
    Independent,
    Normal,
    OneHotCategorical,
    Poisson,
)

from gan_gradflow.bridges import relax
from gan_gradflow.bridges.relax import RELAXBridge
from gan_gradflow.critic import Critic
from gan_gradflow.processes import ALONE

MU, SIGMA = 1.0, 1.5
QUANTILES = Normal(0.0, 1.0).icdf((torch.arange(4000, dtype=FLOAT) + 0.5) / 4000)
TABLE = torch.tensor([3.0, -1.0, 0.5], dtype=FLOAT)
LOGITS = torch.tensor([0.4, -0.3, 1.2], dtype=FLOAT)


class Known(nn.Module):
    """A control variate that is known beforehand and learns nothing."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.register_buffer("weights", torch.zeros(1))

    def forward(self, inputs, weights):
        return self.function(inputs)


def bridge(num_draws=1, control=None, learning_rate=1e-2):
    found = RELAXBridge(num_draws, 0.5, 16, learning_rate).eval()
    if control is not None:
        found.network = Known(control)
    return found


def pull_on(emission, on, critic, relaxed):
    losses = relaxed(critic, emission)
    return torch.autograd.grad(losses.sum(), on)[0]


def test_relax_is_unbiased_by_quadrature(monkeypatch):
    # Chance 0.3 falls between two points, so that the midpoint rule meets no jump.
    points = (torch.arange(400, dtype=FLOAT) + 0.5) / 400
    noises = iter(torch.cartesian_prod(points, points).T.unsqueeze(1))
    monkeypatch.setattr(relax, "_uniforms", lambda *_: next(noises))
    logits = torch.full((400 * 400,), 0.3, dtype=FLOAT).logit().requires_grad_()
    control = bridge(1, lambda inputs: (inputs[..., 0] - 0.5).tanh() * 4)
    critic = Critic(lambda drawn: TABLE[drawn.long()])
    found = pull_on(Bernoulli(logits=logits), logits, critic, control)
    truth = (TABLE[1] - TABLE[0]) * 0.3 * 0.7
    assert found.mean().item() == pytest.approx(truth.item(), rel=1e-3)


@pytest.mark.parametrize("num_draws", [1, 3])
@pytest.mark.parametrize("kind", [Bernoulli, Categorical, OneHotCategorical])
def test_relax_is_unbiased_over_all_outcomes(kind, num_draws):
    # Six standard errors over 20 000 samples; at most 0.15 of a gradient of size 0.6.
    logits = LOGITS[0] if kind is Bernoulli else LOGITS
    one = logits.clone().requires_grad_()
    outcomes = kind(logits=one).enumerate_support()
    chances = kind(logits=one).log_prob(outcomes).exp()

    def score(drawn):
        return TABLE[drawn.argmax(-1) if kind is OneHotCategorical else drawn.long()]

    (truth,) = torch.autograd.grad((chances * score(outcomes)).sum(), one)
    many = logits.expand(20_000, *logits.shape).clone().requires_grad_()
    control = bridge(num_draws, lambda inputs: (inputs + inputs**2 / 4).tanh().sum(-1))
    torch.manual_seed(0)
    found = pull_on(kind(logits=many), many, Critic(score), control)
    error = 6 * found.std(0) / len(found) ** 0.5
    assert (error < 0.15).all()
    assert ((found.mean(0) - truth).abs() < error).all()


@pytest.mark.parametrize("kind", [Bernoulli, Categorical])
def test_what_is_bound_hardens_to_the_draw_and_follows_its_law(kind):
    # z~ has the law of z: two means of 20 000 within six standard errors.
    many = (LOGITS[:1] if kind is Bernoulli else LOGITS).expand(20_000, -1)
    torch.manual_seed(0)
    if kind is Bernoulli:
        drawn = relax._bernoulli(
            Independent(Bernoulli(logits=many), 1).base_dist, 1, ALONE
        )
        assert torch.equal(drawn.bound > 0, drawn.draws.bool())
    else:
        drawn = relax._categorical(Categorical(logits=many), 1, ALONE)
        assert torch.equal(drawn.bound.argmax(-1), drawn.draws)
    gap = (drawn.free - drawn.bound)[0]
    assert (gap.mean(0).abs() < 6 * gap.std(0) / len(gap) ** 0.5).all()


@pytest.mark.parametrize("kind", [Bernoulli, Categorical])
def test_training_lowers_the_variance(kind):
    logits = torch.zeros(256) if kind is Bernoulli else torch.zeros(256, 3)
    logits.requires_grad_()
    learned, critic = bridge(1), Critic(lambda drawn: (drawn.double() - 4) ** 2)

    def variance():
        torch.manual_seed(1)
        emission = kind(logits=logits.repeat(16, *[1] * (logits.ndim - 1)))
        return pull_on(emission, logits, critic, learned.eval()).var(0).sum()

    before = variance()
    torch.manual_seed(0)
    for _ in range(200):
        learned.train()(critic, kind(logits=logits))
    assert variance() < before / 2


def test_before_it_learns_it_is_the_score_function_with_leave_one_out():
    x, oracle = torch.randn(3, 2, dtype=FLOAT), Oracle(Linear())
    _, found = pull(bridge(4), Critic(oracle), x)
    draws = oracle.seen[0].unflatten(0, (4, 3))
    scores = torch.stack([Linear()(draw) for draw in draws])
    weights = (scores - (scores.sum(0) - scores) / 3) / 4
    expected = (weights.unsqueeze(-1) * (draws - x)).sum(0) / 0.5**2
    torch.testing.assert_close(found, expected)


def test_learning_goes_on_from_a_checkpoint():
    x, critic = torch.ones(4, 2), Critic(Linear())
    whole, resumed = bridge(2).train(), bridge(2).train()
    pull(whole, critic, x)
    resumed.load_state_dict(whole.state_dict())
    for seed in (1, 2):
        expected = pull(whole, critic, x, seed)[1]
        assert torch.equal(pull(resumed, critic, x, seed)[1], expected)
    assert not list(whole.parameters())


def test_chances_may_be_given_instead_of_logits():
    chances = torch.full((4, 3), 0.25, requires_grad=True)
    emission = Independent(Bernoulli(probs=chances), 1)
    losses = bridge(2).train()(Critic(lambda drawn: drawn.sum(1)), emission)
    losses.sum().backward()
    assert chances.grad.isfinite().all()
    assert chances.grad.any()


def test_what_cannot_be_relaxed_is_an_error():
    oracle = Oracle(Linear())
    with pytest.raises(ValueError, match="no relaxation of Poisson"):
        bridge()(Critic(oracle), Poisson(torch.ones(3)))
    assert not oracle.seen


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0.1, 8, 1e-2), "num_draws must be at least 1, got 0"),
        ((1, 0.0, 8, 1e-2), "sigma must be positive, got 0.0"),
        ((1, 0.1, 0, 1e-2), "width must be at least 1, got 0"),
        ((1, 0.1, 8, 0.0), "learning_rate must be positive, got 0.0"),
    ],
)
def test_arguments_out_of_range_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        RELAXBridge(*arguments)
