"""The adaptive step against the best one, measured, and against critics that are rough."""

from functools import cache

import pytest
import torch
from conformance import Oracle, build
from problems import FLOAT, Linear, Separable, pull

from gan_gradflow.bridges.adaptive_difference import AdaptiveDifferenceBridge
from gan_gradflow.bridges.directions import (
    CoordinateDirections,
    GaussianDirections,
    RademacherDirections,
)
from gan_gradflow.bridges.finite_difference import FiniteDifferenceBridge
from gan_gradflow.critic import Critic

DIM, BATCH = 16, 32
both = pytest.mark.parametrize("central", [True, False])


def adaptive(central=True, step=None, directions=None, bounds=(1e-12, 10.0)):
    return AdaptiveDifferenceBridge(
        directions or GaussianDirections(4), central, step, *bounds
    )


@cache
def wave(dtype):
    """Samples, a smooth critic of order one, and its gradient in float64."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, DIM, generator=generator, dtype=FLOAT).to(dtype)
    w = torch.randn(DIM, DIM, generator=generator, dtype=FLOAT) / DIM**0.5
    slope = (1 - torch.tanh(x.double() @ w) ** 2) @ w.T / DIM**0.5
    return x, lambda x: torch.tanh(x @ w.to(x)).sum(1) / DIM**0.5, slope


def after(bridge, critic, x, calls=20):
    for seed in range(calls):
        pull(bridge, critic, x, seed)
    return bridge.figures()["step"]


def error(central, step, dtype):
    """Root mean square error of single differences along Gaussian directions."""
    x, critic, slope = wave(dtype)
    u = torch.randn(64, *x.shape, generator=torch.Generator().manual_seed(1))
    u = u.to(dtype)
    ends = [critic((x + j * step * u).flatten(0, 1)).double() for j in (1, -central)]
    found = (ends[0] - ends[1]) / ((1 + central) * step)
    return (found.view(64, -1) - (u.double() * slope).sum(-1)).square().mean().sqrt()


# The best step


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("away", [0.01, 1, 10])
def test_the_step_comes_within_a_factor_of_3_of_the_best(central, dtype, away):
    x, critic, _ = wave(dtype)
    start = away * adaptive(central).step_for(x)
    found = after(adaptive(central, start), Critic(critic), x)
    tried = [found * 1.3**power for power in range(-12, 13)]
    best = min(tried, key=lambda step: error(central, step, dtype))
    assert best / 3 < found < 3 * best


@both
def test_noise_lengthens_the_step_by_its_root(central):
    # s^(1/2) forward and s^(1/3) central; a factor of 2 is left for the draws.
    x, critic, _ = wave(FLOAT)
    quiet, loud = (
        after(adaptive(central), Critic(noisy(critic, sigma)), x)
        for sigma in (1e-7, 1e-4)
    )
    expected = 1000 ** (1 / 3 if central else 1 / 2)
    assert expected / 2 < loud / quiet < expected * 2


def noisy(critic, sigma):
    return lambda x: critic(x) + sigma * torch.randn(len(x), dtype=x.dtype)


def test_a_scale_on_the_samples_is_a_scale_on_the_step():
    x, critic, _ = wave(FLOAT)
    one = after(adaptive(), Critic(critic), x)
    many = after(adaptive(), Critic(lambda x: critic(x / 1000)), 1000 * x)
    assert 300 < many / one < 3000


# Critics that are rough


@both
def test_scores_on_a_grid_get_a_pull_once_the_step_has_grown(central):
    x, critic, slope = wave(torch.float32)
    rough = Critic(lambda x: (20 * critic(x)).round() / 20)
    bridge = adaptive(central, step=1e-6)
    assert not pull(bridge, rough, x)[1].any()
    after(bridge, rough, x)
    found = torch.stack([pull(bridge, rough, x, seed)[1] for seed in range(100)])
    assert torch.cosine_similarity(found.mean(0), slope.float()).mean() > 0.9


def test_a_step_without_differences_grows_to_its_bound_and_says_so():
    bridge, flat = (
        adaptive(step=0.01, bounds=(1e-3, 1.0)),
        Critic(lambda x: 0 * x[:, 0]),
    )
    steps = [after(bridge, flat, wave(FLOAT)[0], calls=1) for _ in range(9)]
    assert steps == pytest.approx([0.02 * 2**call for call in range(6)] + [1, 1, 1])
    assert bridge.figures()["calls_at_step_bound"] == 3


def test_a_step_that_is_too_long_shrinks_to_its_bound_and_says_so():
    x, critic, _ = wave(FLOAT)
    bridge = adaptive(step=0.01, bounds=(1e-3, 0.01))
    assert after(bridge, Critic(critic), x) == pytest.approx(1e-3)
    assert bridge.figures()["calls_at_step_bound"] > 10


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kinks_are_no_noise(central, dtype):
    x, critic, slope = rectified(dtype)
    bridge = adaptive(central, step=0.1)
    after(bridge, Critic(critic), x, calls=60)
    assert bridge.figures()["calls_at_step_bound"] == 0
    found = torch.stack(
        [pull(bridge.eval(), Critic(critic), x, s)[1] for s in range(99)]
    )
    # Of 396 directions in 16 dimensions the mean errs by (17 / 396)^(1/2) = 0.21.
    off = (found.mean(0) - slope).norm() / slope.norm()
    assert off < 0.25


@both
def test_noise_is_seen_beside_kinks(central):
    # Forward and central steps are both s^(2/3) long where kinks are the curve.
    x, critic, _ = rectified(FLOAT)
    steps = [
        after(adaptive(central, 0.01), Critic(noisy(critic, sigma)), x, calls=60)
        for sigma in (1e-5, 1e-3)
    ]
    assert steps[1] / steps[0] > 5


def rectified(dtype):
    """Samples, two layers of rectified units, and their gradient: kinks everywhere."""
    x, *_ = wave(dtype)
    generator = torch.Generator().manual_seed(2)
    first, second = (
        torch.randn(DIM, 64, generator=generator, dtype=FLOAT).to(dtype) / 4,
        torch.randn(64, 64, generator=generator, dtype=FLOAT).to(dtype) / 8,
    )

    def critic(x):
        return (((x @ first).relu() @ second).relu()).sum(1) / 8

    return x, critic, torch.func.grad(lambda x: critic(x).sum())(x)


# Queries and state


@pytest.mark.parametrize(("central", "more"), [(True, 4), (False, 3)])
@pytest.mark.parametrize("directions", [GaussianDirections(3), CoordinateDirections()])
def test_measuring_costs_queries_in_training_alone(central, more, directions):
    plain = FiniteDifferenceBridge(directions, central, None)
    for training in (True, False):
        oracle = Oracle(Separable())
        bridge = adaptive(central, directions=directions).train(training)
        pull(bridge, Critic(oracle), wave(FLOAT)[0])
        predicted = bridge.queries_per_sample(DIM)
        assert oracle.queries == predicted * BATCH
        assert predicted == plain.queries_per_sample(DIM) + more * training


@both
def test_the_first_call_is_that_of_a_fixed_step(central):
    x, critic, _ = wave(FLOAT)
    directions = RademacherDirections(3)
    expected = pull(
        FiniteDifferenceBridge(directions, central, None), Critic(critic), x
    )
    found = pull(adaptive(central, directions=directions), Critic(critic), x)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("central", "expected"),
    [(True, [-1.0, -0.25, 0.25, 1.0]), (False, [-0.5, -0.25, 0.25])],
)
def test_the_scores_are_on_a_line(central, expected):
    oracle = Oracle(Linear())
    bridge = adaptive(central, 0.5, CoordinateDirections())
    pull(bridge, Critic(oracle), torch.zeros(2, 2, dtype=FLOAT))
    measured = oracle.seen[-1].view(-1, 2, 2)
    # Row 0 takes the first axis, row 1 the second; the others of the line are known.
    axes = torch.eye(2, dtype=FLOAT)
    torch.testing.assert_close(measured, torch.stack([j * axes for j in expected]))


def test_the_step_stands_still_in_eval():
    x, critic, _ = wave(torch.float32)
    bridge = adaptive()
    step = after(bridge, Critic(critic), x, calls=3)
    assert after(bridge.eval(), Critic(critic), x, calls=2) == step
    assert bridge.step_for(x) == step


def test_a_checkpoint_resumes_the_step_exactly():
    x, critic, _ = wave(torch.float32)
    whole, resumed = adaptive(), adaptive()
    after(whole, Critic(critic), x, calls=2)
    resumed.load_state_dict(whole.state_dict())
    for seed in (5, 6):
        expected = pull(whole, Critic(critic), x, seed)
        found = pull(resumed, Critic(critic), x, seed)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert resumed.figures() == whole.figures()


def test_the_same_seeds_give_the_same_steps():
    x, critic, _ = wave(torch.float32)
    first, second = (after(adaptive(), Critic(critic), x, calls=4) for _ in "12")
    assert first == second


def test_torch_func_refuses_to_move_the_step_instead_of_losing_it():
    x, critic, _ = wave(FLOAT)
    bridge = adaptive()
    gradient = torch.func.grad(lambda x: bridge(Critic(critic), x).sum())
    with pytest.raises(RuntimeError, match="mutate"):
        gradient(x)


# The YAMLs, and errors


def test_spsa_is_a_central_difference_along_signs():
    bridge = build(("+bridge=spsa",))
    oracle = Oracle(Linear())
    pull(bridge, Critic(oracle), torch.zeros(3, 5, dtype=FLOAT))
    assert oracle.queries == 2 * bridge.directions.num_directions * 3
    step = bridge.step_for(torch.zeros(1, dtype=FLOAT))
    assert (oracle.seen[0].abs() == step).all()


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0)])
def test_bounds_are_positive_and_ordered(bounds):
    with pytest.raises(ValueError, match="0 < smallest_step <= largest_step"):
        adaptive(bounds=bounds)


@pytest.mark.parametrize("step", [1e-4, 2.0])
def test_the_first_step_is_within_its_bounds(step):
    with pytest.raises(ValueError, match=f"step is {step}, outside"):
        adaptive(step=step, bounds=(1e-3, 1.0))
