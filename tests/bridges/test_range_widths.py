"""Directions and draws for samples that live in a range, against paper."""

import pytest
import torch
from conformance import Oracle
from problems import FLOAT, Linear, every_sign, pull
from torch.distributions import Normal

from gan_gradflow.bridges.baselines import NoBaseline, OptimalBaseline
from gan_gradflow.bridges.finite_difference import FiniteDifferenceBridge
from gan_gradflow.bridges.range_directions import RangeDirections
from gan_gradflow.bridges.range_draws import RangeDraws
from gan_gradflow.bridges.range_widths import RangeWidths
from gan_gradflow.bridges.score_function import ScoreFunctionBridge
from gan_gradflow.critic import Critic

POINTS = torch.tensor([[0.0, 0.6, -0.8, 0.999]], dtype=FLOAT)
WIDTHS = torch.tensor([[1.0, 0.8, 0.6, 0.2]], dtype=FLOAT)
REPLICAS = 60_000


def found_at(points, num_directions=3):
    """Replicas of the pull on a linear critic."""
    directions = RangeDirections(num_directions, -1.0, 1.0, 0.2)
    bridge = FiniteDifferenceBridge(directions, False, 1e-3)
    return pull(bridge, Critic(Linear()), points.expand(REPLICAS, -1))[1]


def test_widths_are_those_of_the_range():
    torch.testing.assert_close(RangeWidths(-1.0, 1.0, 0.2)(POINTS), WIDTHS)
    of_sigmoid = RangeWidths(0.0, 1.0, 0.2)((POINTS + 1) / 2)
    torch.testing.assert_close(of_sigmoid, WIDTHS)


def test_widths_are_least_at_the_ends_and_one_beyond():
    points = torch.tensor([-1.5, -1.0, 1.0, 1.0001], dtype=FLOAT)
    assert RangeWidths(-1.0, 1.0, 0.2)(points).tolist() == [1.0, 0.2, 0.2, 1.0]


def test_asking_and_answering_are_dual():
    signs = torch.cat(list(every_sign(4).blocks(POINTS)))
    for pair in (
        RangeDirections(1, -1.0, 1.0, 0.2).pair(signs, POINTS),
        RangeDraws(-1.0, 1.0, 0.2).pair(signs.unsqueeze(1), POINTS),
    ):
        u, v = (part.reshape(16, 4) for part in pair)
        torch.testing.assert_close(v.T @ u / 16, torch.eye(4, dtype=FLOAT))
        torch.testing.assert_close(u.T @ u / 16, WIDTHS[0].square().diag())


def test_each_elements_variance_is_that_on_paper():
    # A chi-square of 60 000 has a relative error of 0.6 % and heavier tails here; six of
    # them fail a right family with probability 1e-8, and 1 / w for w^2 is 20 % away.
    gradient, w = Linear().gradient(POINTS)[0], WIDTHS[0]
    paper = ((w * gradient).square().sum() / w**2 + gradient**2) / 3
    variance = found_at(POINTS).var(0)
    torch.testing.assert_close(variance / paper, torch.ones_like(w), rtol=0.08, atol=0)


def test_behind_a_tanh_the_variance_is_less_than_that_of_gaussian_directions():
    slopes = 1 - POINTS[0] ** 2
    gradient, w = Linear().gradient(POINTS)[0], WIDTHS[0]
    gaussian = ((gradient.square().sum() + gradient**2) * slopes**2).sum() / 3
    behind = (found_at(POINTS) * slopes).var(0).sum()
    paper = (w * gradient).square().sum() * (slopes / w).square().sum()
    paper = (paper + (gradient * slopes).square().sum()) / 3
    assert behind / paper == pytest.approx(1, rel=0.08)
    assert behind < 0.6 * gaussian


def test_the_critic_is_asked_with_these_widths():
    for bridge in (
        FiniteDifferenceBridge(RangeDirections(9, -1.0, 1.0, 0.2), True, 0.1),
        ScoreFunctionBridge(9, 0.1, RangeDraws(-1.0, 1.0, 0.2), OptimalBaseline()),
    ):
        oracle = Oracle(Linear())
        pull(bridge, Critic(oracle), POINTS.expand(4000, -1))
        spread = (torch.cat(oracle.seen) - POINTS).square().mean(0).sqrt()
        torch.testing.assert_close(spread, 0.1 * WIDTHS[0], rtol=0.05, atol=0)


def test_a_distribution_has_widths_of_its_own():
    bridge = ScoreFunctionBridge(2, 1.0, RangeDraws(-1.0, 1.0, 0.2), NoBaseline())
    oracle = Oracle(Linear())
    with pytest.raises(ValueError, match="choose bridge/draws=independent"):
        bridge(Critic(oracle), Normal(torch.zeros(3), 1.0))
    assert not oracle.seen


@pytest.mark.parametrize("family", [RangeDraws, RangeWidths])
def test_a_range_is_not_empty_and_a_width_positive(family):
    with pytest.raises(ValueError, match="low < high, got 1"):
        family(1.0, 1.0, 0.2)
    for least in (0.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match=f"got {least}; try 0.2"):
            family(-1.0, 1.0, least)
