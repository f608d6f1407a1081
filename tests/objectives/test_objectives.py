"""What every pair of losses promises, and each one's numbers on paper."""

from math import log1p
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from gan_gradflow.objectives.base import Objective
from gan_gradflow.objectives.hinge import HingeObjective
from gan_gradflow.objectives.least_squares import LeastSquaresObjective
from gan_gradflow.objectives.nonsaturating import NonsaturatingObjective
from gan_gradflow.objectives.relativistic import RelativisticObjective
from gan_gradflow.objectives.wasserstein import WassersteinObjective

CONFIGS = Path(__file__).parents[2] / "configs" / "objective"
OBJECTIVES = {
    path.stem: instantiate(OmegaConf.load(path)) for path in CONFIGS.glob("*.yaml")
}
every_objective = pytest.mark.parametrize(
    "objective", OBJECTIVES.values(), ids=OBJECTIVES.keys()
)


def scores(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def slope(losses, of):
    return torch.autograd.grad(losses.sum(), of)[0]


def test_the_folder_holds_the_objectives_of_the_package():
    assert len(OBJECTIVES) >= 5
    assert all(isinstance(objective, Objective) for objective in OBJECTIVES.values())


@every_objective
def test_losses_are_per_sample(objective):
    reals, fakes = scores(0.3, -2.0, 0.0), scores(-0.7, 0.4, 2.0)
    for i in range(3):
        real, fake = reals[i : i + 1], fakes[i : i + 1]
        torch.testing.assert_close(
            objective.discriminator_losses(reals, fakes)[i : i + 1],
            objective.discriminator_losses(real, fake),
        )
        torch.testing.assert_close(
            objective.generator_losses(fakes, reals)[i : i + 1],
            objective.generator_losses(fake, real),
        )


@every_objective
def test_the_discriminator_gains_when_reals_rise_and_fakes_fall(objective):
    reals, fakes = scores(0.1, 0.5, 0.9), scores(0.9, 0.5, 0.1)
    losses = objective.discriminator_losses(reals, fakes)
    assert (slope(losses, reals) < 0).all()
    losses = objective.discriminator_losses(reals, fakes)
    assert (slope(losses, fakes) > 0).all()


@every_objective
def test_the_generator_gains_when_fakes_rise(objective):
    fakes, reals = scores(-3.0, -1.0, 0.0, 0.9), scores(0.5, -1.0, 2.0, 0.0)
    assert (slope(objective.generator_losses(fakes, reals), fakes) < 0).all()


@every_objective
def test_an_objective_is_paired_if_the_generator_is_judged_against_reals(objective):
    fakes, reals, others = scores(-0.5, 0.2), scores(0.5, 1.0), scores(-3.0, 4.0)
    same = torch.equal(
        objective.generator_losses(fakes, reals),
        objective.generator_losses(fakes, others),
    )
    assert same is not objective.paired


@every_objective
def test_large_scores_give_finite_losses(objective):
    extremes = scores(-1e4, 1e4, -1e4, 1e4), scores(-1e4, -1e4, 1e4, 1e4)
    assert objective.discriminator_losses(*extremes).isfinite().all()
    assert objective.generator_losses(*extremes).isfinite().all()


def test_the_nonsaturating_gradient_is_minus_the_probability_of_fake():
    fakes = scores(-5.0, -0.3, 0.0, 2.0)
    gradient = slope(NonsaturatingObjective().generator_losses(fakes, None), fakes)
    torch.testing.assert_close(gradient, -torch.sigmoid(-fakes))


def test_the_nonsaturating_discriminator_is_best_at_the_log_odds():
    score = scores(log1p(2.0))  # reals three times as frequent as fakes
    objective = NonsaturatingObjective()
    reals = objective.discriminator_losses(score, score.detach())
    fakes = objective.discriminator_losses(score.detach(), score)
    assert slope(3 * reals + fakes, score).abs() < 1e-15


def test_the_least_squares_discriminator_is_best_at_the_share_of_reals():
    score = scores(0.75)  # reals three times as frequent as fakes
    objective = LeastSquaresObjective()
    reals = objective.discriminator_losses(score, score.detach())
    fakes = objective.discriminator_losses(score.detach(), score)
    assert slope(3 * reals + fakes, score) == 0


def test_the_hinge_discriminator_ignores_scores_beyond_the_margin():
    reals, fakes = scores(1.5, 0.0), scores(-1.5, 0.0)
    losses = HingeObjective().discriminator_losses(reals, fakes)
    assert losses.tolist() == [0, 2]
    assert slope(losses, reals).tolist() == [0, -1]


def test_the_wasserstein_players_play_a_zero_sum_game_on_the_fakes():
    reals, fakes = scores(3.0, -1.0), scores(-2.0, 0.5)
    objective = WassersteinObjective()
    total = objective.discriminator_losses(reals, fakes)
    total = total + objective.generator_losses(fakes, None)
    assert torch.equal(total, -reals)


def test_relativistic_losses_depend_on_differences_of_scores_alone():
    reals, fakes = scores(0.5, -1.0), scores(2.0, 0.25)
    objective = RelativisticObjective()
    for losses in (objective.discriminator_losses, objective.generator_losses):
        torch.testing.assert_close(losses(reals + 8, fakes + 8), losses(reals, fakes))


def test_relativistic_players_swap_their_roles():
    reals, fakes = scores(0.5, -1.0), scores(2.0, 0.25)
    objective = RelativisticObjective()
    assert torch.equal(
        objective.generator_losses(fakes, reals),
        objective.discriminator_losses(fakes, reals),
    )


def test_a_relativistic_generator_without_reals_is_refused():
    with pytest.raises(ValueError, match="score one real for each fake"):
        RelativisticObjective().generator_losses(scores(1.0), None)
