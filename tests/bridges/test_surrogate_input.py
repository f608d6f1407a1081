"""Only statistics cross, and what comes back is the best affine pull that they allow.

On quadratic critics and with matched surrogates the pull has no noise, so most promises
are exact. Where chance remains, a mean is held against its value at six standard errors
(a correct bridge fails with probability 2e-9) small enough to catch the error named.
"""

import pytest
import torch
from problems import FLOAT, Coupled, Linear, Separable, pull
from torch.distributions import Independent, Normal, Poisson

from gan_gradflow.bridges.base import rows
from gan_gradflow.bridges.exact import ExactBridge
from gan_gradflow.bridges.moments import Moments, draw_surrogates, root
from gan_gradflow.bridges.statistics import (
    DiagonalStatistics,
    FullStatistics,
    LowRankStatistics,
)
from gan_gradflow.bridges.surrogate_input import SurrogateInputBridge
from gan_gradflow.critic import Critic, NonFiniteScoresError
from gan_gradflow.types import Access

DIM, BATCH = 5, 9
EVERY = [FullStatistics(), DiagonalStatistics(), LowRankStatistics(2)]
every = pytest.mark.parametrize("statistics", EVERY)


def bridge_of(statistics, num_draws=1, matched=True, per_class=False):
    return SurrogateInputBridge(statistics, num_draws, matched, per_class)


def correlated(batch=BATCH, dim=DIM, dtype=FLOAT):
    mixing = torch.randn(dim, dim, dtype=dtype)
    return torch.randn(batch, dim, dtype=dtype) @ mixing + torch.arange(dim)


def rough(x):
    return (3 * x).tanh().sum(1) * x[:, 0] + x.prod(1)


def rotated(samples):
    """Other samples with the same mean and covariance: a rotation that fixes the mean."""
    ones = torch.ones(len(samples), 1, dtype=FLOAT)
    frame, _ = torch.linalg.qr(torch.cat([ones, torch.randn(len(samples), 20)], 1))
    turn, _ = torch.linalg.qr(torch.randn(len(samples) - 1, len(samples) - 1).to(FLOAT))
    inner = frame[:, 1 : len(samples)]
    return samples.mean(0) + inner @ turn @ inner.T @ samples


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("statistics", [FullStatistics(), LowRankStatistics(DIM)])
def test_a_quadratic_critic_gives_the_exact_losses_and_pull(statistics, dtype):
    x, f = correlated(dtype=dtype), Coupled(DIM)
    f.a, f.b = f.a.to(dtype), f.b.to(dtype)
    losses, found = pull(bridge_of(statistics), Critic(f), x)
    tolerance = {"rtol": 1e-4, "atol": 1e-3} if dtype == torch.float32 else {}
    torch.testing.assert_close(found, f.gradient(x), **tolerance)
    torch.testing.assert_close(losses.mean(), f(x).mean(), **tolerance)


@pytest.mark.parametrize("batch", [2, 3, 4])
def test_small_batches_are_exact_through_all_their_directions(batch):
    x, f = correlated(batch), Coupled(DIM)
    _, found = pull(bridge_of(LowRankStatistics(16), num_draws=4), Critic(f), x)
    torch.testing.assert_close(found, f.gradient(x))


@every
@pytest.mark.parametrize("event", [(), (3,), (2, 3, 1)])
def test_a_separable_critic_is_exact_on_any_event_shape(statistics, event):
    x, f = torch.randn(12, *event, dtype=FLOAT), Separable()
    critic = Critic(lambda samples: f(rows(samples)))
    losses, found = pull(bridge_of(statistics, num_draws=2), critic, x)
    torch.testing.assert_close(rows(found), f.gradient(rows(x)))
    torch.testing.assert_close(losses.mean(), f(rows(x)).mean())


@every
def test_the_mean_loss_moves_a_sample_by_its_pull_over_the_batch(statistics):
    x = correlated().requires_grad_()
    bridge_of(statistics)(Critic(Linear()), x).mean().backward()
    torch.testing.assert_close(x.grad * BATCH, Linear().gradient(x))


def test_the_pull_follows_from_the_gradients_on_mean_and_covariance():
    x = correlated()
    mean = x.mean(0).requires_grad_()
    covariance = ((x - mean).T @ (x - mean) / BATCH).detach().requires_grad_()
    torch.manual_seed(3)
    surrogates = draw_surrogates(
        Moments(mean, root(covariance), None), BATCH, matched=True
    )
    on_mean, on_covariance = torch.autograd.grad(
        rough(surrogates).sum(), [mean, covariance]
    )
    expected = on_mean + (x - mean) @ (on_covariance + on_covariance.T)
    _, found = pull(bridge_of(FullStatistics()), Critic(rough), x, seed=3)
    torch.testing.assert_close(found, expected.detach() / BATCH)


def test_low_rank_keeps_all_of_the_hessian_but_the_block_left_out():
    x, f, ones = correlated(), Coupled(DIM), torch.eye(DIM, dtype=FLOAT)
    centred = x - x.mean(0)
    leading = torch.linalg.svd(centred).Vh[:2]
    kept = leading.T @ leading
    left = ones - kept
    hessian = f.a @ kept + kept @ f.a - kept @ f.a @ kept
    hessian = hessian + left @ f.a.diag().diag() @ left
    expected = f.gradient(x.mean(0)) + centred @ hessian
    _, found = pull(bridge_of(LowRankStatistics(2), num_draws=2), Critic(f), x)
    torch.testing.assert_close(found, expected)


@every
def test_independent_surrogates_have_scale_one(statistics):
    # Resolution 0.03 at six standard errors.
    x, f = torch.randn(20, 3, dtype=FLOAT), Separable()
    truth, bridge = f.gradient(x), bridge_of(statistics, num_draws=40, matched=False)
    pulls = torch.stack([pull(bridge, Critic(f), x, seed)[1] for seed in range(300)])
    scales = (pulls * truth).sum((1, 2)) / truth.square().sum()
    error = 6 * scales.std() / 300**0.5
    assert error < 0.03
    assert abs(scales.mean() - 1) < error


@pytest.mark.parametrize("matched", [False, True])
def test_the_jacobian_is_the_derivative_whatever_the_weights_of_the_losses(matched):
    # With independent elements no eigenvector is held constant: a plain derivative.
    bridge = bridge_of(DiagonalStatistics(), num_draws=2, matched=matched)

    def losses(x):
        torch.manual_seed(1)
        return bridge(Critic(rough), x)

    assert torch.autograd.gradcheck(losses, correlated().requires_grad_())


@pytest.mark.parametrize("matched", [False, True])
@pytest.mark.parametrize(
    ("statistics", "batch"),
    [(s, n) for s in EVERY for n in (2, 3, 12) if n >= s.least_samples(DIM)],
)
def test_no_sample_reaches_the_other_side(statistics, batch, matched):
    seen, x = [], correlated(batch)

    def spy(surrogates):
        seen.append(surrogates.detach())
        return rough(surrogates)

    bridge = bridge_of(statistics, matched=matched)
    bridge(Critic(spy), x)
    crossed = torch.cat([*seen, bridge.exposed(x)])
    assert len(crossed) == 2 * batch
    assert torch.cdist(crossed, x).min() > 1e-3


@every
def test_batches_of_equal_statistics_cannot_be_told_apart(statistics):
    x, bridge, crossed = correlated(), bridge_of(statistics), []
    other = rotated(x)
    assert torch.cdist(x, other).min() > 1e-3
    for samples in (x, other):
        torch.manual_seed(2)
        crossed.append((bridge(Critic(rough), samples), bridge.exposed(samples)))
    torch.testing.assert_close(*crossed)


def test_exposed_surrogates_have_the_statistics_and_no_graph():
    x = correlated().requires_grad_()
    surrogates = bridge_of(FullStatistics()).exposed(x)
    assert not surrogates.requires_grad
    torch.testing.assert_close(surrogates.mean(0), x.mean(0))
    torch.testing.assert_close(surrogates.T.cov(), x.T.cov())


def test_the_surrogates_of_a_row_meet_the_context_of_that_row():
    context = torch.arange(BATCH, dtype=FLOAT)
    critic = Critic(lambda x, row: 0 * x[:, 0] + row, context=[context])
    losses, _ = pull(bridge_of(DiagonalStatistics(), num_draws=3), critic, correlated())
    assert losses.equal(context)
    assert critic.queries == 3 * BATCH


@every
def test_each_class_has_its_own_statistics(statistics):
    x, labels = torch.cat([correlated(), correlated() + 50]), torch.arange(18) // BATCH
    order = torch.randperm(18)
    bridge = bridge_of(statistics, per_class=True).given(labels[order])
    surrogates = bridge.exposed(x[order])
    for label in (0, 1):
        own = surrogates[labels[order] == label]
        torch.testing.assert_close(own.mean(0), x[labels == label].mean(0))


def test_the_loss_of_a_class_moves_its_own_samples_only():
    x, labels = correlated(18).requires_grad_(), torch.arange(18) % 2
    bridge = bridge_of(FullStatistics(), per_class=True).given(labels)
    bridge(Critic(rough), x)[labels == 1].sum().backward()
    assert x.grad[labels == 0].eq(0).all()
    assert x.grad[labels == 1].ne(0).all()


def test_rare_classes_share_their_statistics_with_the_next_rarest():
    x, labels = correlated(12), torch.tensor([0] * 6 + [1] * 4 + [2, 3])
    bridge = bridge_of(DiagonalStatistics(), per_class=True)
    means = [m.mean for m in bridge.given(labels).moments(x)]
    torch.testing.assert_close(means, [x[10:].mean(0), x[6:10].mean(0), x[:6].mean(0)])
    means = [m.mean for m in bridge.given(labels[:11]).moments(x[:11])]
    torch.testing.assert_close(means, [x[6:11].mean(0), x[:6].mean(0)])


def test_given_labels_leave_the_bridge_as_it_was():
    bridge = bridge_of(DiagonalStatistics(), per_class=True)
    bridge.given(torch.zeros(BATCH, dtype=torch.int64)).exposed(correlated())
    with pytest.raises(ValueError, match=r"bridge\.given\(labels\)"):
        bridge.exposed(correlated())


def test_a_reparameterised_distribution_gets_its_pull():
    mean = correlated().requires_grad_()
    emission = Independent(Normal(mean, torch.ones_like(mean)), 1)
    bridge_of(DiagonalStatistics())(Critic(Linear()), emission).sum().backward()
    torch.testing.assert_close(mean.grad, Linear().gradient(mean))


@every
def test_collapsed_and_repeated_samples_have_a_finite_pull(statistics):
    collapsed = torch.ones(BATCH, DIM, dtype=FLOAT)
    repeated = torch.eye(DIM, dtype=FLOAT)[
        torch.arange(2 * DIM) % DIM
    ]  # equal variances
    for x in (collapsed, repeated):
        _, found = pull(bridge_of(statistics, num_draws=2), Critic(rough), x)
        assert found.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_directions_without_variance_are_left_out_and_counted(dtype):
    x = correlated(dtype=dtype)
    x[:, 1], x[:, 2] = x[:, 0], 4
    bridge, f = bridge_of(FullStatistics()), Separable()
    assert bridge.moments(x)[0].rank == DIM - 2
    _, found = pull(bridge, Critic(f), x)
    torch.testing.assert_close(found, f.gradient(x), rtol=1e-4, atol=1e-3)


def test_autocast_does_not_lower_the_precision_of_the_statistics():
    x = correlated(dtype=torch.float32) + 100
    with torch.autocast("cpu", dtype=torch.bfloat16):
        surrogates = bridge_of(FullStatistics()).exposed(x)
    torch.testing.assert_close(surrogates.T.cov(), x.T.cov(), rtol=1e-3, atol=1e-3)


def test_the_affine_fit_is_the_cosine_that_the_pull_reaches():
    dim, hidden = 8, 16
    first, second = torch.randn(dim, hidden, dtype=FLOAT), torch.randn(hidden).to(FLOAT)
    critic = Critic(lambda x: (x @ first * 0.3 + 1).tanh() @ second)
    x = torch.randn(4000, dim, dtype=FLOAT)
    bridge = bridge_of(FullStatistics(), num_draws=25)
    fit = bridge.affine_fit(critic, x)
    found, truth = pull(bridge, critic, x)[1], pull(ExactBridge(), critic, x)[1]
    cosine = torch.cosine_similarity(found.flatten(), truth.flatten(), dim=0)
    assert 0.5 < fit.r2 < fit.cosine < 0.99
    assert fit.cosine - 0.002 < cosine < fit.cosine


def test_the_affine_fit_of_a_quadratic_critic_is_perfect():
    for f in (Linear(), Coupled(DIM)):
        fit = bridge_of(FullStatistics()).affine_fit(Critic(f), correlated(40))
        assert fit == pytest.approx((1, 1))


@pytest.mark.parametrize(
    ("statistics", "emission", "message"),
    [
        (FullStatistics(), torch.randn(5, 5), "at least 6 samples.*low_rank"),
        (DiagonalStatistics(), torch.randn(1, 5), "batch of at least 2"),
        (LowRankStatistics(3), torch.randn(1, 5), "batch of at least 2"),
        (DiagonalStatistics(), Poisson(torch.ones(4)), "score_function"),
    ],
)
def test_emissions_without_statistics_are_refused(statistics, emission, message):
    with pytest.raises(ValueError, match=message):
        bridge_of(statistics)(Critic(Linear()), emission)


def test_emissions_that_are_not_finite_have_no_scores():
    emission = torch.full((3, 2), torch.nan)
    with pytest.raises(NonFiniteScoresError, match=r"3 of 3 .* NaN"):
        bridge_of(DiagonalStatistics())(Critic(Linear()), emission)


def test_integers_and_scores_alone_are_refused():
    bridge, x = bridge_of(DiagonalStatistics()), torch.randn(3, 2)
    with pytest.raises(TypeError, match="int64"):
        bridge(Critic(Linear()), x.long())
    with pytest.raises(ValueError, match="scores only"):
        bridge(Critic(Linear(), access=Access.SCORES), x)


def test_what_a_yaml_can_get_wrong_is_refused():
    with pytest.raises(ValueError, match="num_draws must be at least 1, got 0"):
        bridge_of(DiagonalStatistics(), num_draws=0)
    with pytest.raises(ValueError, match="rank must be at least 1, got 0"):
        LowRankStatistics(0)
    bridge = bridge_of(DiagonalStatistics(), per_class=True)
    with pytest.raises(ValueError, match="integers"):
        bridge.given(torch.ones(3))
    with pytest.raises(ValueError, match="2 labels were given for a batch of 3"):
        bridge.given(torch.tensor([0, 1])).exposed(torch.randn(3, 2))
    with pytest.raises(ValueError, match="ten for each element"):
        bridge.affine_fit(Critic(Linear()), torch.randn(4, 3))
