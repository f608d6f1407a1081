"""The figures of an estimated gradient, against answers on paper."""

import math
from itertools import product

import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal

from gan_gradflow.bridges.directions import CoordinateDirections, GaussianDirections
from gan_gradflow.bridges.exact import ExactBridge
from gan_gradflow.bridges.finite_difference import FiniteDifferenceBridge
from gan_gradflow.critic import Critic
from gan_gradflow.metrics.gradient_fidelity import fidelity, measure_fidelity
from gan_gradflow.metrics.gradient_reference import reference_pull
from gan_gradflow.types import Access

FLOAT = torch.float64
POINTS = torch.tensor([[0.3, -0.7, 1.1], [-2.0, 0.5, 0.1]], dtype=FLOAT)


def curved(x):
    return (x**2).sum(1) + x[:, 0] * x[:, 1] + x[:, 2]


def slope(x):
    a, b, c = x.T
    return torch.stack([2 * a + b, 2 * b + a, 2 * c + 1], 1)


def doubled(critic, emission):
    losses = critic(emission)
    return 2 * losses - losses.detach()


# The figures


def test_figures_of_a_known_estimator_are_right_on_average():
    # p = 1.5 g + s v with a fair sign s: every pair of draws, each as likely.
    truth = torch.tensor([[1.0, 2.0]], dtype=FLOAT)
    noise = torch.tensor([[3.0, -1.0]], dtype=FLOAT)
    signs = [torch.tensor(s, dtype=FLOAT) for s in product((1.0, -1.0), repeat=2)]
    found = [
        fidelity(1.5 * truth + s.view(2, 1, 1) * noise, truth[None]) for s in signs
    ]

    def mean(name):
        return sum(getattr(f, name).value for f in found) / 4

    assert mean("scale") == pytest.approx(1.5 + 0)
    assert mean("squared_bias") == pytest.approx(0.25)
    assert mean("variance") == pytest.approx(10 / 5)


def test_a_noisy_reference_is_no_bias():
    # Truths g + t w with a fair sign t, and draws that are g itself.
    truth = torch.tensor([[1.0, 2.0]], dtype=FLOAT)
    noise = torch.tensor([[2.0, 2.0]], dtype=FLOAT)
    signs = [torch.tensor(s, dtype=FLOAT) for s in product((1.0, -1.0), repeat=2)]
    draws = truth.expand(3, 1, 2)
    biases, scales = [], []
    for s in signs:  # the relative figures times |g|^2, which alone are unbiased
        truths = truth + s.view(2, 1, 1) * noise
        square = truths.mean(0).square().sum() - truths.var(0).sum() / 2
        found = fidelity(draws, truths)
        biases.append(float(found.squared_bias.value * square))
        scales.append(float(found.scale.value * square))
    assert sum(biases) / 4 == pytest.approx(0, abs=1e-12)
    assert sum(scales) / 4 == pytest.approx(5)


def test_one_draw_has_no_error_and_no_variance():
    truth = slope(POINTS)
    found = fidelity(2 * truth[None], truth[None])
    assert found.scale == (2.0, 0.0)
    assert found.squared_bias == (1.0, 0.0)
    assert found.variance == (0.0, 0.0)
    assert found.signal.value == math.inf
    assert found.cosine.value == pytest.approx(1)


def test_the_error_of_a_mean_is_its_standard_error():
    truth = slope(POINTS)
    draws = torch.randn(20, 1, 1, dtype=FLOAT) * truth
    found = fidelity(draws, truth[None])
    assert found.scale.error == pytest.approx(
        float((draws / truth).std(0)[0, 0]) / 20**0.5
    )


# A bridge


def test_the_exact_bridge_is_perfect_and_asks_once():
    critic = Critic(curved)
    reference = reference_pull(critic, POINTS)
    found = measure_fidelity(ExactBridge(), critic, POINTS, reference, num_draws=1)
    assert reference.name == "exact gradient"
    assert found.queries_per_sample == 1
    assert found.pull.squared_bias == (0.0, 0.0)
    assert found.pull.scale == (1.0, 0.0)


def test_gaussian_directions_have_the_variance_of_theory():
    # 20 draws for each of 200 samples: six standard errors of the variance are below
    # 0.6; (d - 1) / K would be 1 away.
    critic = Critic(lambda x: x.sum(1), access=Access.SCORES)
    bridge = FiniteDifferenceBridge(GaussianDirections(2), central=True, step=0.1)
    points = POINTS.repeat(100, 1)
    reference = reference_pull(Critic(lambda x: x.sum(1)), points)
    found = measure_fidelity(bridge, critic, points, reference, num_draws=20).pull
    assert 6 * found.variance.error < 0.6
    assert abs(found.variance.value - (3 + 1) / 2) < 6 * found.variance.error
    assert abs(found.squared_bias.value) < 6 * found.squared_bias.error < 0.1
    assert abs(found.scale.value - 1) < 6 * found.scale.error < 0.2


def test_a_bias_on_the_pull_reaches_the_parameters():
    layer = torch.nn.Linear(2, 3, dtype=FLOAT)
    emission = layer(torch.randn(4, 2, dtype=FLOAT))
    critic = Critic(curved)
    found = measure_fidelity(
        doubled,
        critic,
        emission,
        reference_pull(critic, emission),
        num_draws=1,
        parameters=list(layer.parameters()),
    )
    for figures in (found.pull, found.parameters):
        assert figures.scale.value == pytest.approx(2)
        assert figures.squared_bias.value == pytest.approx(1)
        assert figures.cosine.value == pytest.approx(1)


def test_the_cosine_of_parameters_is_that_of_the_gradients_backward_gives():
    layer = torch.nn.Linear(2, 3, dtype=FLOAT)
    emission = layer(torch.randn(4, 2, dtype=FLOAT))
    first = torch.tensor([1.0, 0, 0, 0], dtype=FLOAT)
    whole, part = (
        torch.autograd.grad(
            (rows * curved(emission)).mean(), layer.weight, retain_graph=True
        )
        for rows in (torch.ones_like(first), first)
    )
    found = measure_fidelity(
        lambda critic, x: first * critic(x),
        Critic(curved),
        emission,
        reference_pull(Critic(curved), emission),
        num_draws=1,
        parameters=[layer.weight],
    )
    expected = torch.cosine_similarity(whole[0].flatten(), part[0].flatten(), dim=0)
    assert found.parameters.cosine.value == pytest.approx(float(expected))


def test_measuring_leaves_the_bridge_as_it_is():
    class Learning(torch.nn.Module):
        calls = 0

        def forward(self, critic, emission):
            self.calls += self.training
            return critic(emission)

    bridge = Learning()
    critic = Critic(curved)
    measure_fidelity(
        bridge, critic, POINTS, reference_pull(critic, POINTS), num_draws=3
    )
    assert bridge.calls == 0
    assert bridge.training


# The reference


def test_scores_alone_give_the_same_reference():
    exact = reference_pull(Critic(curved), POINTS)
    critic = Critic(curved, access=Access.SCORES)
    differences = reference_pull(critic, POINTS)
    torch.testing.assert_close(exact.pulls[0], slope(POINTS))
    torch.testing.assert_close(differences.pulls, exact.pulls)
    assert (
        differences.name == "central differences along all 3 coordinates, step 0.0001"
    )
    assert critic.queries == 2 * 3 * 2


def test_a_critic_that_cuts_the_graph_is_asked_for_scores():
    reference = reference_pull(Critic(lambda x: curved(x).detach()), POINTS)
    assert reference.name.startswith("central differences")


def test_coordinate_differences_keep_image_shapes():
    images = torch.randn(2, 1, 2, 2, dtype=FLOAT)
    critic = Critic(lambda x: (x**2).sum((1, 2, 3)), access=Access.SCORES)
    torch.testing.assert_close(
        reference_pull(critic, images).pulls[0], 2 * images.flatten(1)
    )


def test_scores_of_discrete_draws_give_a_reference_that_knows_its_noise():
    logits = torch.tensor([[0.0, 1.0], [-1.0, 0.5]], dtype=FLOAT, requires_grad=True)
    emission = Independent(Bernoulli(logits=logits), 1)
    weight = torch.tensor([1.0, -2.0], dtype=FLOAT)
    critic = Critic(lambda x: x @ weight, access=Access.SCORES)
    found = reference_pull(critic, emission, [logits], num_repeats=64).pulls
    chances = logits.detach().sigmoid()
    truth = chances * (1 - chances) * weight
    error = found.std(0) / 8
    assert bool(((found.mean(0) - truth).abs() < 6 * error).all())
    assert bool((error < 0.05).all())


def test_reparameterised_draws_are_followed_where_the_critic_can_be():
    mean = POINTS.clone().requires_grad_()
    emission = Independent(Normal(mean, torch.ones_like(mean)), 1)
    critic = Critic(lambda x: x.sum(1))
    reference = reference_pull(critic, emission, [mean], num_repeats=2)
    assert reference.name == "mean of many pathwise gradients"
    torch.testing.assert_close(reference.pulls, torch.ones(2, 2, 3, dtype=FLOAT))


def test_a_distribution_needs_its_parameters():
    emission = Independent(Normal(POINTS, torch.ones_like(POINTS)), 1)
    with pytest.raises(ValueError, match="needs `at`"):
        reference_pull(Critic(curved), emission)


def test_coordinates_are_right_to_the_step_by_either_route():
    bridge = FiniteDifferenceBridge(CoordinateDirections(), central=True, step=0.1)
    critic = Critic(curved, access=Access.SCORES)
    reference = reference_pull(Critic(curved), POINTS)
    found = measure_fidelity(bridge, critic, POINTS, reference, num_draws=1).pull
    assert found.squared_bias.value < 1e-20
