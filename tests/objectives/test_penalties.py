"""Penalties against their values on paper."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from gan_gradflow.objectives.gradient_penalty import GradientPenalty
from gan_gradflow.objectives.lazy import LazyPenalty
from gan_gradflow.objectives.penalties import NoPenalty, Penalty
from gan_gradflow.objectives.zero_centred import R1Penalty, R1R2Penalty, R2Penalty

CONFIGS = Path(__file__).parents[2] / "configs" / "penalty"
PENALTIES = {
    path.stem: instantiate(OmegaConf.load(path)) for path in CONFIGS.glob("*.yaml")
}
every_penalty = pytest.mark.parametrize(
    "penalty", PENALTIES.values(), ids=PENALTIES.keys()
)


class Linear(nn.Module):
    """D(x) = <w, x>, so that the gradient at every sample is w."""

    def __init__(self, *weight):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))

    def forward(self, samples):
        return samples.flatten(1) @ self.weight


class Quadratic(nn.Module):
    """D(x) = a |x|^2 / 2, so that the gradient at x is a x."""

    def __init__(self, a):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.float64))

    def forward(self, samples):
        return self.a * samples.flatten(1).square().sum(1) / 2


def penalised(penalty, discriminator, reals=None, fakes=None):
    """The penalty, its caller having asked for gradients exactly where it says so."""
    reals = torch.randn(5, 3, dtype=torch.float64) if reals is None else reals
    fakes = torch.randn(5, 3, dtype=torch.float64) if fakes is None else fakes
    reals = reals.clone().requires_grad_(penalty.on_reals)
    fakes = fakes.clone().requires_grad_(penalty.on_fakes)
    return penalty(
        discriminator, reals, fakes, discriminator(reals), discriminator(fakes)
    )


@every_penalty
def test_a_yaml_builds_a_penalty_that_is_a_finite_scalar(penalty):
    assert isinstance(penalty, Penalty)
    value = penalised(penalty, Quadratic(0.5))
    assert value.shape == ()
    assert value.isfinite()


@every_penalty
def test_a_penalty_leaves_no_gradient_behind_on_the_discriminator(penalty):
    discriminator = Quadratic(0.5)
    penalised(penalty, discriminator)
    assert discriminator.a.grad is None


@every_penalty
def test_the_order_of_the_pairs_is_of_no_account(penalty):
    reals, fakes = torch.randn(2, 4, 3, dtype=torch.float64)
    if isinstance(penalty, GradientPenalty):  # the same point whatever is drawn
        fakes = reals
    value = penalised(penalty, Quadratic(0.5), reals, fakes)
    flipped = penalised(penalty, Quadratic(0.5), reals.flip(0), fakes.flip(0))
    torch.testing.assert_close(value, flipped)


@pytest.mark.parametrize(
    ("penalty", "kinds"),
    [(R1Penalty(3.0), 1), (R2Penalty(3.0), 1), (R1R2Penalty(3.0), 2)],
)
def test_on_a_linear_discriminator_it_is_half_gamma_the_squared_weight(penalty, kinds):
    discriminator = Linear(1.0, -2.0, 0.5)
    value = penalised(penalty, discriminator)
    torch.testing.assert_close(value.item(), kinds * 3 / 2 * 5.25)
    value.backward()
    expected = kinds * 3 * discriminator.weight.detach()
    torch.testing.assert_close(discriminator.weight.grad, expected)


@pytest.mark.parametrize(
    ("penalty", "squared_length"),
    [(R1Penalty(3.0), 4), (R2Penalty(3.0), 9), (R1R2Penalty(3.0), 13)],
)
def test_each_looks_at_the_samples_it_names(penalty, squared_length):
    reals, fakes = torch.zeros(2, 5, 3, dtype=torch.float64)
    reals[:, 0], fakes[:, 1] = 2, 3
    discriminator = Quadratic(0.5)
    value = penalised(penalty, discriminator, reals, fakes)
    torch.testing.assert_close(value.item(), 3 / 2 * 0.5**2 * squared_length)
    value.backward()
    torch.testing.assert_close(discriminator.a.grad.item(), 3 * 0.5 * squared_length)


def test_on_a_linear_discriminator_the_gradient_penalty_is_its_distance_from_one():
    discriminator = Linear(0.0, 3.0, 4.0)
    value = penalised(GradientPenalty(10.0), discriminator)
    torch.testing.assert_close(value.item(), 10 * (5.0 - 1) ** 2)
    value.backward()
    expected = 2 * 10 * (5 - 1) * discriminator.weight.detach() / 5
    torch.testing.assert_close(discriminator.weight.grad, expected)


def test_the_gradient_penalty_asks_between_the_samples_of_each_pair():
    asked = []

    def discriminator(samples):
        asked.append(samples)
        return samples.flatten(1).sum(1)

    reals = torch.randn(64, 3, dtype=torch.float64)
    fakes = torch.randn(64, 3, dtype=torch.float64)
    penalised(GradientPenalty(1.0), discriminator, reals, fakes)
    shares = (asked[-1] - fakes) / (reals - fakes)
    torch.testing.assert_close(shares, shares[:, :1].expand(-1, 3))
    assert shares.min() >= 0
    assert shares.max() <= 1
    assert shares[:, 0].unique().numel() == 64


def test_a_flat_discriminator_gets_a_finite_gradient_from_the_gradient_penalty():
    discriminator = Linear(0.0, 0.0, 0.0)
    penalised(GradientPenalty(10.0), discriminator).backward()
    assert discriminator.weight.grad.isfinite().all()


def test_no_penalty_is_zero_and_asks_nothing():
    def poison(samples):
        raise AssertionError("the discriminator was asked")

    samples, scores = torch.randn(4, 3), torch.randn(4)
    assert NoPenalty()(poison, samples, samples, scores, scores) == 0


@pytest.mark.parametrize("penalty", [R1Penalty, R2Penalty, R1R2Penalty])
@pytest.mark.parametrize("gamma", [-1.0, float("nan")])
def test_a_negative_gamma_is_refused(penalty, gamma):
    with pytest.raises(ValueError, match=f"gamma must not be negative, got {gamma}"):
        penalty(gamma)


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match="weight must not be negative, got -10"):
        GradientPenalty(-10.0)


def test_a_lazy_penalty_is_n_times_as_strong_in_one_update_of_n():
    lazy, plain, discriminator = (
        LazyPenalty(R1Penalty(2.0), 3),
        R1Penalty(2.0),
        Linear(2),
    )
    reals = torch.ones(4, 1, dtype=torch.float64)
    found = [penalised(lazy, discriminator, reals, reals).item() for _ in range(7)]
    once = penalised(plain, discriminator, reals, reals).item()
    assert found == [3 * once, 0, 0, 3 * once, 0, 0, 3 * once]


def test_a_lazy_penalty_asks_for_gradients_only_when_it_is_due():
    lazy = LazyPenalty(R1R2Penalty(1.0), 2)
    assert (lazy.on_reals, lazy.on_fakes) == (True, True)
    penalised(lazy, Linear(1.0, 1.0, 1.0))
    assert (lazy.on_reals, lazy.on_fakes) == (False, False)


def test_a_lazy_penalty_counts_on_from_a_checkpoint():
    first, second = LazyPenalty(R1Penalty(1.0), 3), LazyPenalty(R1Penalty(1.0), 3)
    for _ in range(2):
        penalised(first, Linear(1.0, 1.0, 1.0))
    second.load_state_dict(first.state_dict())
    due = []
    for _ in range(3):
        due.append(second.due)
        penalised(second, Linear(1.0, 1.0, 1.0))
    assert due == [False, True, False]


def test_a_lazy_penalty_without_updates_is_refused():
    with pytest.raises(ValueError, match="every_n_updates must be at least 1, got 0"):
        LazyPenalty(R1Penalty(1.0), 0)
