"""Draws: what they follow, what they share, and what that is worth."""

from itertools import product

import pytest
import torch
from conformance import Oracle
from problems import FLOAT, Linear, pull
from torch.distributions import (
    Bernoulli,
    Categorical,
    Exponential,
    Gamma,
    Independent,
    Laplace,
    LogNormal,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
    Poisson,
    StudentT,
)

from gan_gradflow.bridges.baselines import NoBaseline
from gan_gradflow.bridges.distributions import from_uniforms, uniforms_for
from gan_gradflow.bridges.draws import (
    AntitheticDraws,
    IndependentDraws,
    QuasiMonteCarloDraws,
)
from gan_gradflow.bridges.score_function import ScoreFunctionBridge
from gan_gradflow.critic import Critic

CHANCES = torch.tensor([0.2, 0.5, 0.3], dtype=FLOAT)
COVARIANCE = torch.tensor([[2.0, 0.6], [0.6, 1.0]], dtype=FLOAT)


def family(distribution):
    return str(distribution).split("(")[0]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def estimates(draws, critic, x, num_draws, sigma=1.0):
    bridge = ScoreFunctionBridge(num_draws, sigma, draws, NoBaseline())
    return pull(bridge, Critic(critic), x)[1]


@pytest.mark.parametrize(
    "emission",
    [
        Normal(torch.ones(3), 2.0),
        Independent(Laplace(torch.ones(3, 2), 2.0), 1),
        Independent(StudentT(3 * torch.ones(3, 2, 2), torch.ones(3, 2, 2)), 2),
        MultivariateNormal(torch.ones(3, 2), torch.eye(2)),
        LowRankMultivariateNormal(
            torch.ones(3, 2), torch.ones(3, 2, 1), torch.ones(3, 2)
        ),
    ],
    ids=family,
)
def test_pairs_are_mirrored_at_the_centre(emission):
    pairs = AntitheticDraws().sample((3, 2), emission)
    centre = pairs.mean(1)
    loc = getattr(emission, "base_dist", emission).loc
    torch.testing.assert_close(centre, loc.expand_as(centre))
    assert (pairs[:, 0] != pairs[:, 1]).all()


@pytest.mark.parametrize(
    "emission",
    [
        Categorical(CHANCES.expand(3, 3)),
        LogNormal(torch.zeros(3), 1.0),
        Exponential(torch.ones(3)),
        Independent(Bernoulli(torch.full((3, 2), 0.5)), 1),
        OneHotCategorical(CHANCES.expand(3, 3)),
    ],
    ids=family,
)
def test_pairs_of_skewed_draws_come_from_opposite_quantiles(emission):
    pairs = AntitheticDraws().sample((500, 2), emission)
    assert pairs.shape == (500, 2, *emission.sample().shape)
    assert pairs.dtype == emission.sample().dtype
    scalars = pairs.double().flatten(3).select(-1, 0) if pairs.ndim > 3 else pairs
    first, second = (scalars[:, m].double().flatten() for m in (0, 1))
    assert torch.corrcoef(torch.stack([first, second]))[0, 1] < -0.1


@pytest.mark.parametrize("draws", [AntitheticDraws(), QuasiMonteCarloDraws(1)])
@pytest.mark.parametrize(
    "emission",
    [Poisson(torch.ones(3)), Gamma(torch.ones(3), torch.ones(3))],
    ids=family,
)
def test_draws_that_need_an_inverse_which_is_not_known_are_an_error(draws, emission):
    oracle = Oracle(Linear())
    with pytest.raises(ValueError, match="choose bridge/draws=independent"):
        ScoreFunctionBridge(2, 1.0, draws, NoBaseline())(Critic(oracle), emission)
    assert not oracle.seen


# Draws from uniform numbers


@pytest.mark.parametrize(
    ("emission", "expected"),
    [
        (Bernoulli(CHANCES[:1]), torch.tensor([0.2], dtype=FLOAT)),
        (OneHotCategorical(CHANCES.view(1, 3)), CHANCES.view(1, 3)),
    ],
    ids=family,
)
def test_evenly_spread_uniforms_give_every_outcome_its_chance(emission, expected):
    uniforms = (torch.arange(1000, dtype=FLOAT).view(-1, 1) + 0.5) / 1000
    torch.testing.assert_close(from_uniforms(emission, uniforms).mean(0), expected)


def test_a_category_without_a_chance_is_never_drawn():
    chances = torch.tensor([[0.0, 0.3, 0.7, 0.0]])
    uniforms = torch.tensor([2.0**-31, 0.3, 1 - 2.0**-31], dtype=FLOAT).view(-1, 1)
    found = from_uniforms(Categorical(chances), uniforms)
    assert found.flatten().tolist() == [1, 1, 2]


@pytest.mark.parametrize(
    "emission",
    [
        MultivariateNormal(torch.ones(1, 2, dtype=FLOAT), COVARIANCE.view(1, 2, 2)),
        LowRankMultivariateNormal(
            torch.ones(1, 2, dtype=FLOAT),
            torch.tensor([[[1.0], [0.6]]], dtype=FLOAT),
            torch.tensor([[1.0, 0.64]], dtype=FLOAT),
        ),
    ],
    ids=family,
)
def test_a_multivariate_normal_has_its_covariance(emission):
    line = (torch.arange(400, dtype=FLOAT) + 0.5) / 400
    uniforms = torch.tensor(list(product(line.tolist(), repeat=2)), dtype=FLOAT)
    drawn = from_uniforms(emission, uniforms.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(drawn.mean(0), emission.loc[0])
    torch.testing.assert_close(drawn.T.cov(), COVARIANCE, rtol=1e-2, atol=0)


# Quasi-Monte-Carlo


def test_a_net_has_one_point_in_each_equal_part():
    x = torch.zeros(4, 3, dtype=FLOAT)
    noise = QuasiMonteCarloDraws(2).noise((2, 16), x, seeded(1))
    cells = (torch.special.ndtr(noise) * 16).floor().sort(dim=1).values
    expected = torch.arange(16, dtype=FLOAT).view(1, 16, 1, 1)
    assert torch.equal(cells, expected.expand(2, 16, 4, 3))


def test_nets_differ_between_samples_groups_and_calls():
    draws, x = QuasiMonteCarloDraws(2), torch.zeros(4, 3, dtype=FLOAT)
    noise = torch.cat([draws.noise((2, 8), x, seeded(seed)) for seed in (1, 2, 10**12)])
    flat = noise.transpose(1, 2).flatten(0, 1).sort(dim=1).values
    assert len(flat.flatten(1).unique(dim=0)) == 6 * 4


def test_each_point_of_a_net_is_uniform():
    # The mean of 4000 standard normals, and of their squares: six standard errors fail
    # right draws with probability 3e-8, and catch a shift of 0.2 or a width off by 14 %.
    x = torch.zeros(4000, 1, dtype=FLOAT)
    point = QuasiMonteCarloDraws(1).noise((1, 4), x, seeded(3))[0, :, :, 0]
    assert (point.mean(1).abs() < 6 / 4000**0.5).all()
    assert ((point.square().mean(1) - 1).abs() < 6 * (2 / 4000) ** 0.5).all()


def test_nets_lower_the_variance_on_a_smooth_critic():
    # The rank of the three is known; their ratios are measured over 4000 samples.
    x = torch.full((4000, 2), 0.5, dtype=FLOAT)

    def variance(draws):
        found = estimates(draws, lambda x: (x.sin() + x**2).sum(1), x, 32)
        return found.var(0).sum()

    independent = variance(IndependentDraws())
    antithetic = variance(AntitheticDraws())
    assert antithetic < independent / 2
    assert variance(QuasiMonteCarloDraws(1)) < antithetic / 2


@pytest.mark.parametrize(
    "draws", [IndependentDraws(), AntitheticDraws(), QuasiMonteCarloDraws(2)], ids=type
)
@pytest.mark.parametrize("kind", [Bernoulli, Categorical, OneHotCategorical])
def test_discrete_draws_are_unbiased(draws, kind):
    # Six standard errors over 20 000 samples; at most 0.07 of a gradient of size 0.6.
    table = torch.tensor([3.0, -1.0, 0.5], dtype=FLOAT)
    logits = torch.tensor([0.4, -0.3, 1.2], dtype=FLOAT)
    logits = logits[0] if kind is Bernoulli else logits
    one = logits.clone().requires_grad_()
    outcomes = kind(logits=one).enumerate_support()
    chances = kind(logits=one).log_prob(outcomes).exp()

    def score(drawn):
        return table[drawn.argmax(-1) if kind is OneHotCategorical else drawn.long()]

    (truth,) = torch.autograd.grad((chances * score(outcomes)).sum(), one)
    many = logits.expand(20_000, *logits.shape).clone().requires_grad_()
    bridge = ScoreFunctionBridge(4, 1.0, draws, NoBaseline())
    torch.manual_seed(0)
    losses = bridge(Critic(score), kind(logits=many))
    (found,) = torch.autograd.grad(losses.sum(), many)
    error = 6 * found.std(0) / len(found) ** 0.5
    assert (error < 0.07).all()
    assert ((found.mean(0) - truth).abs() < error).all()


def test_a_net_takes_one_number_for_each_scalar_draw():
    assert uniforms_for(Independent(Normal(torch.ones(3, 4, 5), 1.0), 2)) == (3, 4, 5)
    assert uniforms_for(OneHotCategorical(torch.ones(3, 4))) == (3,)
    drawn = QuasiMonteCarloDraws(1).sample((2, 4), Categorical(torch.ones(3, 5)))
    assert drawn.shape == (2, 4, 3)


def test_a_net_of_too_many_elements_is_an_error():
    with pytest.raises(ValueError, match="at most 21201 elements"):
        estimates(QuasiMonteCarloDraws(1), Linear(), torch.zeros(1, 21_202), 2)


def test_a_net_needs_a_scramble():
    with pytest.raises(ValueError, match="num_scrambles must be at least 1, got 0"):
        QuasiMonteCarloDraws(0)
