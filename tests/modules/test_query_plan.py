"""The number of draws follows the noise, on the past alone, and is resumed to the bit."""

import pytest
import torch
from rounds import BRIDGES, make_module, play
from torch import nn

from gan_gradflow.bridges.baselines import LeaveOneOutBaseline
from gan_gradflow.bridges.directions import (
    CoordinateDirections,
    GaussianDirections,
    OrthonormalDirections,
)
from gan_gradflow.bridges.draws import AntitheticDraws, IndependentDraws
from gan_gradflow.bridges.exact import ExactBridge
from gan_gradflow.bridges.finite_difference import FiniteDifferenceBridge
from gan_gradflow.bridges.score_function import ScoreFunctionBridge
from gan_gradflow.critic import Critic
from gan_gradflow.modules.query_plan import AdaptiveQueries, FixedQueries

FAMILIES = {
    "forward": lambda: FiniteDifferenceBridge(GaussianDirections(4), False, 1e-3),
    "central": lambda: FiniteDifferenceBridge(GaussianDirections(4), True, 1e-3),
    "score_function": lambda: ScoreFunctionBridge(
        8, 0.1, IndependentDraws(), LeaveOneOutBaseline()
    ),
}


def make_plan(
    smallest=4, largest=32, snr=1.0, warm_up=0, every=1, decay=0.5
) -> AdaptiveQueries:
    return AdaptiveQueries(smallest, largest, snr, warm_up, every, decay)


def step(plan, bridge, critic, weight, latents) -> torch.Tensor:
    """One iteration of a linear generator; its parameter gradient."""
    emission = latents @ weight
    loss = plan.losses(bridge, critic, emission, [weight]).mean()
    (gradient,) = torch.autograd.grad(loss, weight)
    plan.observe(gradient.norm())
    return gradient


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("every", [1, 3])
def test_queries_are_as_many_as_predicted_whatever_the_plan(family, every) -> None:
    bridge, plan = FAMILIES[family](), make_plan(every=every)
    critic = Critic(lambda x: x.square().sum(1))
    weight = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    for _ in range(8):
        predicted = 5 * plan.queries_per_sample(bridge, 3)
        before = critic.queries
        step(plan, bridge, critic, weight, torch.randn(5, 2).double())
        assert critic.queries - before == predicted


def test_signal_and_noise_are_measured_without_bias() -> None:
    # Linear critic g in d = 3: E|p - g|^2 = (d + 1) |g|^2 for one draw, and with J = I
    # the pull's noise is the parameters'. A measurement with 16 draws spreads by 80 %
    # (signal) and 90 % (noise), so 500 of them are off by 24 % once in 10^8.
    bridge, plan = FAMILIES["central"](), make_plan(16, 16, decay=0.0)
    critic = Critic(lambda x: x @ torch.tensor([1.0, -2.0, 2.0]).double())
    weight = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    latents = torch.ones(1, 1, dtype=torch.float64)
    found = []
    for _ in range(500):
        step(plan, bridge, critic, weight, latents)
        found.append((float(plan.signal), float(plan.noise)))
    signal, noise = torch.tensor(found).mean(0)
    assert float(signal) == pytest.approx(9.0, rel=0.24)
    assert float(noise) == pytest.approx(4 * 9.0, rel=0.24)


def test_the_draws_are_those_that_the_norm_test_asks_for() -> None:
    plan = make_plan(smallest=4, largest=30, snr=2.0, decay=0.0)
    for signal, noise, draws in [
        (1.0, 0.1, 4),
        (1.0, 2.0, 4),
        (1.0, 2.1, 8),
        (1.0, 5.9, 12),
        (1.0, 100.0, 28),
        (-1.0, 0.1, 28),
        (0.0, 0.0, 28),
    ]:
        plan.num_draws.fill_(28)
        plan.signal.fill_(signal)
        plan.noise.fill_(noise)
        assert plan._wanted() == draws


def test_draws_rise_by_a_step_or_a_quarter_and_fall_at_once() -> None:
    plan = make_plan(smallest=4, largest=64, decay=0.0)
    plan.noise.fill_(1.0)  # and no signal
    seen = []
    for _ in range(11):
        plan.num_draws.fill_(plan._wanted())
        seen.append(int(plan.num_draws))
    assert seen == [8, 12, 16, 20, 24, 28, 32, 40, 48, 60, 64]
    plan.signal.fill_(1.0)
    assert plan._wanted() == 4


def test_nothing_is_measured_in_the_warm_up() -> None:
    bridge, plan = FAMILIES["forward"](), make_plan(warm_up=3, every=2)
    critic = Critic(lambda x: x.square().sum(1))
    weight = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    noises = []
    for _ in range(6):
        step(plan, bridge, critic, weight, torch.randn(5, 2).double())
        noises.append(float(plan.noise))
    assert noises[:3] == [0.0] * 3
    assert noises[3] == noises[4] != noises[5] != 0.0


@pytest.mark.parametrize("family", FAMILIES)
def test_two_halves_estimate_what_one_call_does(family) -> None:
    # The number of draws depends on the past alone, so the estimate stays unbiased: its
    # mean over 400 calls is within 6 standard errors of the gradient of x^2 (smoothed,
    # for the score function: the same on a quadratic).
    bridge, plan = FAMILIES[family](), make_plan(every=2)
    critic = Critic(lambda x: x.square().sum(1))
    latents = torch.tensor([[1.0, 2.0], [0.5, -1.0]]).double()
    weight = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    exact = latents.T @ (2 * latents @ weight.detach()) / 2
    found = torch.stack(
        [step(plan, bridge, critic, weight, latents) for _ in range(400)]
    )
    error = found.std(0) / 400**0.5
    assert ((found.mean(0) - exact).abs() < 6 * error + 5e-3).all()


def test_a_resumed_plan_goes_on_to_the_bit() -> None:
    def steps(plan, start, stop):
        gradients = []
        for iteration in range(start, stop):
            torch.manual_seed(iteration)
            latents = torch.randn(5, 2).double()
            gradients.append(step(plan, bridge, critic, weight, latents))
        return torch.stack(gradients), int(plan.num_draws)

    bridge, critic = FAMILIES["forward"](), Critic(lambda x: x.square().sum(1))
    weight = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    whole, first, second = (make_plan(snr=9.0, every=2) for _ in range(3))
    expected, draws = steps(whole, 0, 9)
    steps(first, 0, 4)
    second.load_state_dict(first.state_dict())
    found, resumed_draws = steps(second, 4, 9)
    assert torch.equal(found, expected[4:])
    assert draws == resumed_draws != whole.smallest


def test_the_plan_is_in_the_checkpoint() -> None:
    module = make_module(BRIDGES["finite_difference"]())
    module.plan_queries(make_plan())
    assert "query_plan.num_draws" in module.state_dict()


def test_a_budget_ends_the_run_before_the_iteration_that_it_does_not_cover(
    tmp_path,
) -> None:
    module = make_module(BRIDGES["finite_difference"](), budget=200)
    module.plan_queries(make_plan(4, 4))  # 8 queries for each of 6 samples
    trainer = play(module, 9, tmp_path)
    assert (trainer.global_step, module.critic.queries) == (4, 192)


def test_a_fixed_plan_leaves_a_run_as_it_was(tmp_path) -> None:
    plain, planned = (make_module(BRIDGES["score_function"]()) for _ in range(2))
    planned.plan_queries(FixedQueries())
    weights = []
    for module in (plain, planned):
        play(module, 2, tmp_path)
        weights.append(nn.utils.parameters_to_vector(module.generator.parameters()))
    assert torch.equal(*weights)


@pytest.mark.parametrize(
    ("bridge", "smallest", "message"),
    [
        (ExactBridge(), 4, "ExactBridge has no number"),
        (
            FiniteDifferenceBridge(CoordinateDirections(), True, None),
            4,
            "CoordinateDirections",
        ),
        (
            FiniteDifferenceBridge(OrthonormalDirections(2), True, None),
            4,
            "OrthonormalDirections",
        ),
        (FAMILIES["score_function"](), 2, "needs at least 2"),
        (
            ScoreFunctionBridge(8, 0.1, AntitheticDraws(), LeaveOneOutBaseline()),
            6,
            "even for antithetic",
        ),
    ],
    ids=["exact", "coordinate", "orthonormal", "leave_one_out", "antithetic"],
)
def test_a_bridge_that_cannot_work_to_the_plan_is_refused(
    bridge, smallest, message
) -> None:
    with pytest.raises(ValueError, match=f"smallest={smallest}.*{message}"):
        make_module(bridge).plan_queries(make_plan(smallest))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 8, 1.0, 0, 1, 0.5), "smallest must be even"),
        ((8, 4, 1.0, 0, 1, 0.5), "at most largest"),
        ((2, 4, 0.0, 0, 1, 0.5), "snr must be positive"),
        ((2, 4, 1.0, -1, 1, 0.5), "warm_up must not be negative"),
        ((2, 4, 1.0, 0, 0, 0.5), "every_n_iterations"),
        ((2, 4, 1.0, 0, 1, 1.0), "decay"),
    ],
)
def test_a_number_out_of_range_is_an_error(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        AdaptiveQueries(*arguments)
