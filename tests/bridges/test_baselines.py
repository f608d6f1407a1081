"""Baselines: what they subtract, what they have seen, and the variance that remains."""

import pytest
import torch
from problems import FLOAT, VARIANCES, Linear, pull
from torch.distributions import (
    Bernoulli,
    Categorical,
    Independent,
    MixtureSameFamily,
    Normal,
    OneHotCategorical,
)

from gan_gradflow.bridges.baselines import (
    LearnedBaseline,
    LeaveOneOutBaseline,
    MeanBaseline,
    MovingAverageBaseline,
    NoBaseline,
    OptimalBaseline,
)
from gan_gradflow.bridges.distributions import parameters_of
from gan_gradflow.bridges.draws import IndependentDraws
from gan_gradflow.bridges.score_function import ScoreFunctionBridge
from gan_gradflow.critic import Critic

MU, SIGMA = 1.0, 1.5
GRID = torch.linspace(-10, 10, 2001, dtype=FLOAT)
WEIGHTS = Normal(0.0, 1.0).log_prob(GRID).exp() * (GRID[1] - GRID[0])
QUANTILES = Normal(0.0, 1.0).icdf((torch.arange(2000, dtype=FLOAT) + 0.5) / 2000)
LEARNING = {
    "moving_average": lambda: MovingAverageBaseline(0.9),
    "learned": lambda: LearnedBaseline(16, 1e-2),
}
every_learning = pytest.mark.parametrize("make", LEARNING.values(), ids=LEARNING.keys())


def bridge(baseline, num_draws=1, sigma=SIGMA):
    return ScoreFunctionBridge(num_draws, sigma, IndependentDraws(), baseline)


def with_noise(monkeypatch, smoothing, noise):
    """The bridge, with `noise` [groups, batch] in the place of chance."""
    given = noise.view(len(noise), 1, -1, 1)
    monkeypatch.setattr(smoothing, "_noise", lambda mean, seeds: iter([given]))
    return smoothing


def critic_of(function):
    return Critic(lambda x: function(x[:, 0]))


def variance_by_quadrature(monkeypatch, baseline, function, first=None):
    """Of a single weighted draw, after the draws `first` that only the baseline sees."""
    noise = GRID.unsqueeze(0)
    if first is not None:
        noise = torch.cat([first.unsqueeze(1).expand(-1, len(GRID)), noise])
    x = torch.full((len(GRID), 1), MU, dtype=FLOAT)
    smoothing = with_noise(monkeypatch, bridge(baseline, len(noise)), noise)
    found = pull(smoothing, critic_of(function), x)[1][:, 0]
    return WEIGHTS @ found**2 - (WEIGHTS @ found) ** 2


@pytest.mark.parametrize("case", VARIANCES.values(), ids=VARIANCES.keys())
def test_a_mean_of_many_draws_leaves_the_golden_variance(case, monkeypatch):
    function, without, with_mean, *_ = case
    found = variance_by_quadrature(monkeypatch, NoBaseline(), function)
    assert found == pytest.approx(without, rel=0.02)
    first = QUANTILES[::5]
    baseline = MeanBaseline(len(first))
    found = variance_by_quadrature(monkeypatch, baseline, function, first)
    assert found == pytest.approx(with_mean, rel=0.02)


@pytest.mark.parametrize("case", VARIANCES.values(), ids=VARIANCES.keys())
def test_the_optimal_baseline_of_many_draws_leaves_the_golden_variance(case):
    function, _, _, optimal, _ = case
    noise = torch.cat([QUANTILES, QUANTILES[:1]]).view(-1, 1, 1)
    scores = function(MU + SIGMA * noise)
    of_the_last = OptimalBaseline()(scores, torch.zeros(1, 1), noise**2)[-1].item()
    found = (function(MU + SIGMA * GRID) - of_the_last) * GRID / SIGMA
    variance = WEIGHTS @ found**2 - (WEIGHTS @ found) ** 2
    assert variance == pytest.approx(optimal, rel=0.02)


def test_the_optimal_baseline_weighs_the_other_draws_by_their_length():
    scores = torch.tensor([1.0, 2.0, 6.0]).view(3, 1, 1)
    lengths = torch.tensor([1.0, 3.0, 1e9]).view(3, 1, 1)
    found = OptimalBaseline()(scores, torch.zeros(1, 1), lengths).flatten()
    assert found.tolist() == pytest.approx([6.0, 6.0, (1 * 1 + 2 * 3) / (1 + 3)])


def test_the_optimal_baseline_is_unbiased_over_all_outcomes(monkeypatch):
    # All 27 triples of draws of three categories, each with its chance: no tolerance.
    logits = torch.tensor([0.4, -1.3, 1.2], dtype=FLOAT, requires_grad=True)
    table = torch.tensor([3.0, -1.0, 0.5], dtype=FLOAT)
    triples = torch.cartesian_prod(*[torch.arange(3)] * 3).T
    chances = Categorical(logits=logits).log_prob(triples).sum(0).exp()
    many = logits.detach().expand(27, 3).clone().requires_grad_()
    monkeypatch.setattr(Categorical, "sample", lambda *_: triples.unsqueeze(1))
    losses = bridge(OptimalBaseline(), 3)(
        Critic(lambda drawn: table[drawn]), Categorical(logits=many)
    )
    losses.sum().backward()
    truth = torch.autograd.grad(logits.softmax(0) @ table, logits)[0]
    torch.testing.assert_close(chances.detach() @ many.grad, truth)


def test_the_optimal_baseline_spares_more_than_the_mean_of_the_others():
    # The golden variances are .0385 and .0233; 32 draws come close to their ratio, .61.
    x = torch.full((20_000, 1), MU, dtype=FLOAT)
    critic = critic_of(VARIANCES["exp(-x^2)"][0])
    with_mean, with_optimum = (
        pull(bridge(baseline, 32), critic, x)[1].var()
        for baseline in (LeaveOneOutBaseline(), OptimalBaseline())
    )
    assert with_optimum < 0.7 * with_mean


@every_learning
@pytest.mark.parametrize("name", ["x^2", "(x-3)^2", "cos .1x"])
def test_what_learned_the_mean_leaves_the_golden_variance(make, name, monkeypatch):
    function, _, with_mean, *_ = VARIANCES[name]
    x = torch.full((1, 1), MU, dtype=FLOAT)
    scores = function(MU + SIGMA * QUANTILES).view(-1, 1, 1)
    baseline = make()
    for _ in range(600):
        baseline.observe(scores, x)
    found = variance_by_quadrature(monkeypatch, baseline.eval(), function)
    assert found == pytest.approx(with_mean, rel=0.02)


def test_the_mean_is_taken_over_the_groups_set_apart():
    scores = torch.tensor([[1.0, 3.0], [2.0, 6.0], [10.0, 20.0]]).unsqueeze(2)
    found = MeanBaseline(2)(scores, torch.zeros(1, 1), None)
    assert found.flatten().tolist() == [3.0]


def test_groups_set_apart_weigh_nothing(monkeypatch):
    noise = torch.tensor([[5.0], [-1.0], [2.0]], dtype=FLOAT)
    smoothing = with_noise(monkeypatch, bridge(MeanBaseline(1), 3, 1.0), noise)
    _, found = pull(smoothing, critic_of(lambda x: x), torch.zeros(1, 1, dtype=FLOAT))
    assert found.item() == ((-1 - 5) * -1 + (2 - 5) * 2) / 2


def test_leave_one_out_is_the_mean_of_the_other_groups():
    x = torch.zeros(1, 1)
    single = torch.tensor([1.0, 2.0, 6.0]).view(3, 1, 1)
    found = LeaveOneOutBaseline()(single, x, None)
    assert found.flatten().tolist() == [4.0, 3.5, 1.5]
    pairs = torch.tensor([[1.0, 3.0], [2.0, 6.0]]).view(2, 2, 1)
    found = LeaveOneOutBaseline()(pairs, x, None).expand(2, 2, 1)
    assert found.flatten().tolist() == [4.0, 4.0, 2.0, 2.0]


def test_the_moving_average_weighs_the_past_by_its_decay():
    baseline, x = MovingAverageBaseline(0.5), torch.zeros(1, 1)
    for score, expected in [(4.0, 0.0), (1.0, 4.0), (1.0, (4 + 2 * 1) / 3)]:
        scores = torch.full((1, 1, 1), score)
        assert baseline(scores, x, None).item() == pytest.approx(expected)
        baseline.observe(scores, x)


@every_learning
def test_a_call_learns_only_after_it_has_used_what_was_learned(make):
    x, critic = torch.randn(4, 2, dtype=FLOAT), Critic(lambda x: Linear()(x) + 9)
    learning, plain = bridge(make()), bridge(NoBaseline())
    _, first = pull(learning, critic, x)
    _, expected = pull(plain, critic, x)
    assert torch.equal(first, expected)
    _, second = pull(learning, critic, x)
    assert not torch.allclose(second, expected)


@every_learning
def test_the_mean_pull_is_the_gradient_while_it_learns(make):
    # Single draws; six standard errors over 300 calls with 200 samples each.
    x = torch.ones(200, 2, dtype=FLOAT)
    learning, critic = bridge(make()), Critic(lambda x: Linear()(x) + 3)
    pulls = torch.stack([pull(learning, critic, x, seed)[1] for seed in range(300)])
    found = pulls.mean(1)
    error = 6 * found.std(0) / len(found) ** 0.5
    assert (error < 0.12).all()
    assert ((found.mean(0) - Linear().weight(x)).abs() < error).all()


@every_learning
def test_in_evaluation_nothing_is_learned(make):
    learning, critic = bridge(make()), Critic(Linear())
    pull(learning, critic, torch.ones(4, 2))
    before = {name: value.clone() for name, value in learning.state_dict().items()}
    pull(learning.eval(), critic, torch.ones(4, 2))
    after = learning.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@every_learning
def test_learning_goes_on_from_a_checkpoint(make):
    whole, critic, x = bridge(make()), Critic(Linear()), torch.ones(4, 2)
    for seed in range(3):
        pull(whole, critic, x, seed)
    resumed = bridge(make())
    resumed.load_state_dict(whole.state_dict())
    for seed in (3, 4):
        _, expected = pull(whole, critic, x, seed)
        _, found = pull(resumed, critic, x, seed)
        assert torch.equal(found, expected)


@every_learning
def test_nothing_is_left_for_an_optimizer_outside(make):
    learning = bridge(make())
    pull(learning, Critic(Linear()), torch.ones(4, 2))
    assert not list(learning.parameters())


def test_the_learned_baseline_tells_samples_apart():
    x = torch.linspace(-1, 1, 16).view(-1, 1)
    baseline = LearnedBaseline(16, 1e-2)
    scores = (x**2).view(1, 1, -1)
    for _ in range(800):
        baseline.observe(scores, x)
    assert (baseline(scores, x, None) - scores).abs().max() < 0.05


@pytest.mark.parametrize(
    ("emission", "features"),
    [
        (Normal(torch.zeros(4), torch.ones(4)), 2),
        (Independent(Normal(torch.zeros(4, 3), torch.ones(4, 3)), 1), 6),
        (Categorical(logits=torch.zeros(4, 5)), 5),
        (Independent(Bernoulli(torch.full((4, 3), 0.5)), 1), 3),
    ],
    ids=lambda value: str(value).split("(")[0],
)
def test_the_learned_baseline_sees_a_distributions_parameters(emission, features):
    baseline = LearnedBaseline(16, 1e-2)
    baseline.observe(torch.ones(1, 1, 4), emission)
    assert baseline.network.weights.numel() == 16 * (features + 2) + 1
    assert baseline(torch.ones(1, 1, 4), emission, None).shape == (1, 1, 4)


@pytest.mark.parametrize("kind", [Categorical, OneHotCategorical])
def test_a_distributions_parameters_are_those_it_was_built_from(kind):
    chances = torch.full((4, 2), 0.5, requires_grad=True)
    emission = kind(probs=chances)
    emission.log_prob(emission.sample())  # asks for logits
    (found,) = parameters_of(emission)
    assert torch.equal(found, chances)


def test_an_emission_without_parameters_is_an_error():
    weights = Categorical(torch.ones(4, 2))
    mixture = MixtureSameFamily(weights, Normal(torch.zeros(4, 2), 1.0))
    with pytest.raises(ValueError, match="MixtureSameFamily keeps no parameters"):
        LearnedBaseline(16, 1e-2)(torch.ones(1, 1, 4), mixture, None)


def test_another_shape_of_emission_is_an_error():
    baseline = LearnedBaseline(16, 1e-2)
    baseline.observe(torch.ones(1, 1, 4), torch.ones(4, 3))
    with pytest.raises(ValueError, match="from 3 elements and now gets 2"):
        baseline(torch.ones(1, 1, 4), torch.ones(4, 2), None)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MeanBaseline(0), "num_groups must be at least 1, got 0"),
        (lambda: MovingAverageBaseline(1.0), r"in \[0, 1\), got 1.0"),
        (lambda: MovingAverageBaseline(-0.1), r"in \[0, 1\), got -0.1"),
        (lambda: LearnedBaseline(0, 1e-2), "width must be at least 1, got 0"),
        (lambda: LearnedBaseline(8, 0.0), "learning_rate must be positive, got 0.0"),
        (lambda: bridge(MeanBaseline(2), 2), "MeanBaseline needs at least 3"),
    ],
)
def test_arguments_out_of_range_are_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
