"""The pull on emissions of every kind: where it arrives, and its norm."""

import pytest
import torch
from rounds import TinyGenerator, make_module, play
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    LogNormal,
    LowRankMultivariateNormal,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
    RelaxedBernoulli,
    RelaxedOneHotCategorical,
)

from gan_gradflow.bridges.baselines import LeaveOneOutBaseline
from gan_gradflow.bridges.draws import IndependentDraws
from gan_gradflow.bridges.score_function import ScoreFunctionBridge
from gan_gradflow.bridges.straight_through import StraightThroughBridge
from gan_gradflow.modules.emissions import pull_norm, watch

TRIL = torch.eye(4) + 0.1 * torch.ones(4, 4).tril()


class Unsaid(Distribution):
    """A Normal that does not say what its parameters are."""

    has_rsample = False

    def __init__(self, mean):
        self.normal = Independent(Normal(mean, 1.0), 1)
        super().__init__(mean.shape[:1], mean.shape[1:], validate_args=False)

    def sample(self, sample_shape=()):
        return self.normal.sample(sample_shape)

    def log_prob(self, value):
        return self.normal.log_prob(value)


FAMILIES = {
    "one-hot": lambda x: OneHotCategorical(logits=x),
    "lognormal": lambda x: Independent(LogNormal(x, 1.0), 1),
    "one factor for all": lambda x: MultivariateNormal(x, scale_tril=TRIL),
    "mixture": lambda x: MixtureSameFamily(
        Categorical(logits=x[:, :2]),
        Independent(Normal(x.view(-1, 1, 4).expand(-1, 2, 4), 1.0), 1),
    ),
    "unsaid": Unsaid,
}


class Emitting(TinyGenerator):
    """Emits a distribution with what the layers give as its parameters."""

    def __init__(self, family) -> None:
        super().__init__()
        self.family = family

    def forward(self, latents):
        return self.family(super().forward(latents))


def score_function():
    return ScoreFunctionBridge(4, 0.1, IndependentDraws(), LeaveOneOutBaseline())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_trains(family, tmp_path) -> None:
    generator = Emitting(FAMILIES[family])
    module = make_module(score_function(), generator=generator)
    play(module, 2, tmp_path)
    known = family not in ("mixture", "unsaid")
    assert ("pull/norm" in module.scalars) is known
    assert all(figure.isfinite() for figure in module.scalars.values())


def test_one_hot_draws_train_straight_through(tmp_path) -> None:
    generator = Emitting(FAMILIES["one-hot"])
    bridge = StraightThroughBridge(None)
    module = make_module(bridge, generator=generator)
    play(module, 2, tmp_path)
    assert module.scalars["pull/norm"] > 0


@pytest.mark.parametrize("kind", [Bernoulli, Categorical])
def test_a_parameter_with_two_names_is_counted_once(kind) -> None:
    scores = torch.randn(3, 4, requires_grad=True)
    emission = kind(logits=scores + 0)
    draws = emission.sample()
    if kind is Bernoulli:
        emission = Independent(emission, 1)
    pulls = watch(emission)
    emission.log_prob(draws).mean().backward()
    assert len(pulls) == 1
    if kind is Bernoulli:
        expected = 3 * scores.grad.norm(dim=1).mean()
        torch.testing.assert_close(pull_norm(pulls), expected)


@pytest.mark.parametrize(
    ("family", "count"),
    [
        (lambda w: MultivariateNormal(w[..., 0], scale_tril=w.tril()), 2),
        (lambda w: MultivariateNormal(w[..., 0], scale_tril=w[0].tril()), 1),
        (lambda w: LowRankMultivariateNormal(w[..., 0], w, w[..., 0]), 3),
    ],
)
def test_factors_of_a_covariance_count_where_samples_have_their_own(family, count):
    whole = (TRIL + torch.rand(3, 4, 4)).requires_grad_()
    emission = family(whole)
    pulls = watch(emission)
    emission.log_prob(torch.randn(3, 4)).mean().backward()
    assert [len(pull) for pull in pulls] == [3] * count


@pytest.mark.parametrize("name", ["logits", "probs"])
@pytest.mark.parametrize("kind", [RelaxedBernoulli, RelaxedOneHotCategorical])
def test_what_a_relaxed_draw_was_computed_from_is_not_counted_twice(kind, name):
    chances = torch.rand(3, 4, requires_grad=True)
    emission = kind(torch.tensor(0.5), **{name: chances + 0})
    if kind is RelaxedBernoulli:
        emission = Independent(emission, 1)
    draws = emission.rsample()
    pulls = watch(emission)
    draws.square().sum(1).mean().backward()
    assert len(pulls) == 1


def test_no_pull_has_no_norm() -> None:
    assert pull_norm([]) is None
