"""The score function against expectations, enumerated or integrated, and variances.

An expectation over draws becomes a weighted sum over the batch: row i of the emission
holds the draws of outcome i, and the pull on row i is what the bridge makes of them.
"""

from itertools import product

import pytest
import torch
from conformance import Oracle
from problems import (
    FLOAT,
    VARIANCES,
    Coupled,
    Cubic,
    Linear,
    Separable,
    every_gaussian,
    pull,
)
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    Normal,
)

from gan_gradflow.bridges import directions
from gan_gradflow.bridges import score_function as module
from gan_gradflow.bridges.baselines import Baseline, LeaveOneOutBaseline, NoBaseline
from gan_gradflow.bridges.draws import (
    AntitheticDraws,
    IndependentDraws,
    QuasiMonteCarloDraws,
)
from gan_gradflow.bridges.score_function import ScoreFunctionBridge
from gan_gradflow.critic import Critic

MU, SIGMA = 1.0, 1.5
GRID = torch.linspace(MU - 12 * SIGMA, MU + 12 * SIGMA, 4001, dtype=FLOAT)
WEIGHTS = Normal(MU, SIGMA).log_prob(GRID).exp() * (GRID[1] - GRID[0])
critics = pytest.mark.parametrize("case", VARIANCES.values(), ids=VARIANCES.keys())


class Constant(Baseline):
    """A number known beforehand."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def forward(self, scores, emission, lengths):
        return scores.new_full((1, 1, 1), self.number)


def bridge(num_draws=1, baseline=None, antithetic=False, sigma=0.5):
    draws = AntitheticDraws() if antithetic else IndependentDraws()
    return ScoreFunctionBridge(num_draws, sigma, draws, baseline or NoBaseline())


def given_draws(distribution, draws):
    """The distribution, which draws `draws` [draws, batch, *event] instead of chance."""

    class Given(type(distribution)):
        def sample(self, sample_shape=()):
            return draws.reshape(*sample_shape, *draws.shape[1:])

    distribution.__class__ = Given
    return distribution


def on_grid(critic, baseline):
    """The pull on the mean and the width for a single draw at each point of the grid."""
    mean = torch.full_like(GRID, MU, requires_grad=True)
    width = torch.full_like(GRID, SIGMA, requires_grad=True)
    emission = given_draws(Normal(mean, width), GRID.unsqueeze(0))
    losses = bridge(1, baseline)(Critic(critic), emission)
    return torch.autograd.grad(losses.sum(), (mean, width))


def expectation(values):
    return (WEIGHTS * values).sum()


def variance(values):
    return expectation(values**2) - expectation(values) ** 2


# Continuous distributions, by quadrature


@critics
def test_the_expected_pull_is_the_gradient_of_the_expected_loss(case):
    critic, *_ = case
    x = GRID.clone().requires_grad_()
    (slope,) = torch.autograd.grad(critic(x).sum(), x)
    on_mean, on_width = on_grid(critic, NoBaseline())
    # d/dmu E f = E f', and d/ds E f = E f' (x - mu) / s.
    torch.testing.assert_close(expectation(on_mean), expectation(slope))
    expected = expectation(slope * (GRID - MU) / SIGMA)
    torch.testing.assert_close(expectation(on_width), expected)


@critics
def test_the_variance_without_a_baseline(case):
    critic, expected, *_ = case
    found = variance(on_grid(critic, NoBaseline())[0])
    assert found == pytest.approx(expected, rel=2e-3)


@critics
def test_the_variance_with_the_mean_as_baseline(case):
    critic, _, expected, *_ = case
    mean = float(expectation(critic(GRID)))
    found = variance(on_grid(critic, Constant(mean))[0])
    assert found == pytest.approx(expected, rel=2e-3)


@critics
def test_the_variance_with_the_optimal_baseline(case):
    critic, _, _, expected, _ = case
    square = ((GRID - MU) / SIGMA) ** 2
    optimal = float(expectation(critic(GRID) * square))
    found = variance(on_grid(critic, Constant(optimal))[0])
    assert found == pytest.approx(expected, rel=2e-3)


# Discrete distributions, by enumeration


@pytest.mark.parametrize("baseline", [NoBaseline(), LeaveOneOutBaseline()])
@pytest.mark.parametrize(
    ("family", "num_outcomes"), [(Bernoulli, 2), (Categorical, 2), (Categorical, 3)]
)
def test_two_draws_are_unbiased_over_all_pairs(family, num_outcomes, baseline):
    table = torch.tensor([3.0, -1.0, 0.5], dtype=FLOAT)
    logits = torch.tensor([0.4, -0.3, 1.2], dtype=FLOAT)[:num_outcomes]
    logits = logits[0] if family is Bernoulli else logits
    one = logits.clone().requires_grad_()
    chances = family(logits=one).enumerate_support().to(FLOAT)
    chances = family(logits=one).log_prob(chances).exp()
    (expected,) = torch.autograd.grad((chances * table[:num_outcomes]).sum(), one)

    pairs = torch.tensor(list(product(range(num_outcomes), repeat=2)))
    many = logits.expand(len(pairs), *logits.shape).clone().requires_grad_()
    kind = FLOAT if family is Bernoulli else torch.int64
    emission = given_draws(family(logits=many), pairs.T.to(kind))
    losses = bridge(2, baseline)(Critic(lambda x: table[x.long()]), emission)
    (found,) = torch.autograd.grad(losses.sum(), many)
    weights = chances.detach()[pairs].prod(1)
    torch.testing.assert_close((weights @ found).view_as(expected), expected)


def test_a_generator_of_tokens_learns_from_scores():
    logits = torch.zeros(64, 5, requires_grad=True)
    score = Critic(lambda tokens: (tokens != 3).double())
    for _ in range(60):
        emission = Categorical(logits=logits)
        losses = bridge(8, LeaveOneOutBaseline())(score, emission)
        (slope,) = torch.autograd.grad(losses.sum(), logits)
        logits = (logits - slope).detach().requires_grad_()
    assert logits.softmax(1)[:, 3].min() > 0.5


# A tensor emission is smoothed


@pytest.mark.parametrize("antithetic", [True, False])
def test_the_expected_pull_is_the_gradient_of_the_smoothed_loss(
    antithetic, monkeypatch
):
    noise = every_gaussian(3).directions.view(-1, 1, 1, 3)
    noise = torch.cat([noise, -noise], 1) if antithetic else noise
    x = torch.tensor([[0.3, -0.7, 1.1]], dtype=FLOAT)
    smoothing = bridge(noise[..., 0].numel(), None, antithetic, 0.5)
    monkeypatch.setattr(smoothing, "_noise", lambda mean, seeds: iter([noise]))
    losses, found = pull(smoothing, Critic(Cubic()), x)
    # Half sigma^2 times the Laplacian, 10 x - 6 y, and its gradient: exact on a cubic.
    smoothed = Cubic()(x) + 0.5**2 / 2 * (10 * x[:, 0] - 6 * x[:, 1])
    torch.testing.assert_close(losses, smoothed)
    expected = Cubic().gradient(x) + 0.5**2 / 2 * Cubic.laplacian
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("antithetic", [True, False])
@pytest.mark.parametrize("baseline", [NoBaseline(), LeaveOneOutBaseline()])
def test_the_scale_is_one(antithetic, baseline):
    # Six standard errors over 40 000 samples fail a right bridge with probability 2e-9;
    # an error of 7 % in the scale is caught with the same certainty.
    x = torch.zeros(40_000, 6, dtype=FLOAT)
    _, found = pull(bridge(4, baseline, antithetic), Critic(Linear()), x)
    weight = Linear().weight(x)
    scale = found @ weight / weight.dot(weight)
    error = 6 * scale.std() / len(x) ** 0.5
    assert error < 0.035
    assert (scale.mean() - 1).abs() < error


@pytest.mark.parametrize(
    ("antithetic", "baseline", "expected"),
    [
        (False, NoBaseline(), 51 / 4),
        (True, NoBaseline(), 51 / 2),
        (False, LeaveOneOutBaseline(), 51 / 4 + 50 / (4 * 3)),
    ],
    ids=["none", "antithetic", "leave_one_out"],
)
def test_the_relative_variance_on_a_linear_critic(antithetic, baseline, expected):
    # Six standard errors over 40 000 samples: an error of 8 % is caught for certain.
    x = torch.zeros(40_000, 50, dtype=FLOAT)
    _, found = pull(bridge(4, baseline, antithetic), Critic(Linear()), x)
    weight = Linear().weight(x)
    square = (found - weight).square().sum(1) / weight.dot(weight)
    error = 6 * square.std() / len(x) ** 0.5
    assert error < 0.04 * expected
    assert (square.mean() - expected).abs() < error


@pytest.mark.parametrize("for_a_seed", [1, 3 * 6 * 4, 2**20])
@pytest.mark.parametrize("elements", [1, 3 * 6 * 2, 2**20])
@pytest.mark.parametrize("antithetic", [True, False])
def test_the_pull_is_the_formula_on_the_draws_that_were_scored(
    elements, for_a_seed, antithetic, monkeypatch
):
    monkeypatch.setattr(directions, "_BLOCK_ELEMENTS", elements)
    monkeypatch.setattr(module, "_SEED_ELEMENTS", for_a_seed)
    x, oracle = torch.randn(3, 6, dtype=FLOAT), Oracle(Separable())
    _, found = pull(bridge(8, LeaveOneOutBaseline(), antithetic), Critic(oracle), x)
    draws = torch.cat([seen.unflatten(0, (-1, 3)) for seen in oracle.seen])
    members = 2 if antithetic else 1
    scores = torch.stack([Separable()(draw) for draw in draws])
    groups = scores.view(-1, members, 3).sum(1, keepdim=True)
    others = (groups.sum(0) - groups).expand(-1, members, -1).reshape(8, 3)
    weights = (scores - others / (8 - members)) / 8
    expected = (weights.unsqueeze(-1) * (draws - x)).sum(0) / 0.5**2
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("antithetic", [True, False])
def test_a_batch_of_16_numbers_gets_the_same_pull_in_any_blocks(
    antithetic, monkeypatch
):
    x = torch.linspace(-1, 1, 16).view(8, 2)
    chosen = bridge(8, LeaveOneOutBaseline(), antithetic)
    expected = pull(chosen, Critic(Linear()), x)
    monkeypatch.setattr(directions, "_BLOCK_ELEMENTS", 4 * 16)
    found = pull(chosen, Critic(Linear()), x)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_constants_cancel_within_a_pair():
    x = torch.randn(3, 3, dtype=FLOAT)
    shifted = Critic(lambda x: Coupled(3)(x) + 1e6)
    _, expected = pull(bridge(2, None, True), Critic(Coupled(3)), x)
    _, found = pull(bridge(2, None, True), shifted, x)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_leave_one_out_leaves_constants_out():
    x = torch.randn(3, 3, dtype=FLOAT)
    shifted = Critic(lambda x: Coupled(3)(x) + 1e6)
    _, expected = pull(bridge(4, LeaveOneOutBaseline()), Critic(Coupled(3)), x)
    _, found = pull(bridge(4, LeaveOneOutBaseline()), shifted, x)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


# Value and errors


def test_the_value_is_the_mean_score_of_the_draws():
    draws = torch.tensor([[0.0, 1.0], [2.0, 5.0]])
    emission = given_draws(Normal(torch.zeros(2), 1.0), draws)
    losses = bridge(2)(Critic(lambda x: 2 * x), emission)
    assert losses.tolist() == [2.0, 6.0]


def test_no_gradient_reaches_the_critic_through_a_distribution():
    weight = torch.ones(3, requires_grad=True)
    emission = Independent(Normal(torch.zeros(4, 3, requires_grad=True), 1.0), 1)
    losses = bridge(2)(Critic(lambda x: x @ weight), emission)
    losses.sum().backward()
    assert weight.grad is None


def test_what_is_exposed_of_a_distribution_is_a_draw():
    emission: Distribution = Normal(torch.zeros(5, requires_grad=True), 1.0)
    exposed = bridge(1).exposed(emission)
    assert exposed.shape == (5,)
    assert not exposed.requires_grad
    assert len(exposed.unique()) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0.1, IndependentDraws(), NoBaseline()), "must be at least 1, got 0"),
        ((3, 0.1, AntitheticDraws(), NoBaseline()), "even for antithetic pairs, got 3"),
        ((3, 0.1, QuasiMonteCarloDraws(2), NoBaseline()), "multiple .* got 3 and 2"),
        ((2, 0.0, IndependentDraws(), NoBaseline()), "sigma must be positive, got 0.0"),
        ((2, float("nan"), IndependentDraws(), NoBaseline()), "positive, got nan"),
        ((1, 0.1, IndependentDraws(), LeaveOneOutBaseline()), "needs at least 2"),
        ((2, 0.1, AntitheticDraws(), LeaveOneOutBaseline()), "needs at least 4"),
        ((8, 0.1, QuasiMonteCarloDraws(1), LeaveOneOutBaseline()), "at least 16"),
    ],
)
def test_arguments_out_of_range_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        ScoreFunctionBridge(*arguments)


class NoLogProb(Distribution):
    """Draws, and no word on how likely they were."""

    arg_constraints = {}  # noqa: RUF012

    def sample(self, sample_shape=()):
        return torch.zeros(*sample_shape, *self.batch_shape)


def test_a_distribution_without_log_prob_is_an_error():
    oracle = Oracle(Linear())
    with pytest.raises(ValueError, match="NoLogProb has no log_prob"):
        bridge()(Critic(oracle), NoLogProb(torch.Size([3])))
    assert not oracle.seen
