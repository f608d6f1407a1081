"""Loops that are right raise no alarm, whatever they are built of."""

import itertools

import pytest
from architectures import ARCHITECTURES, batches_for
from loops import Loop
from styles import STYLES

from gan_gradflow.audit import Severity
from gan_gradflow.objectives.gradient_penalty import GradientPenalty
from gan_gradflow.objectives.hinge import HingeObjective
from gan_gradflow.objectives.least_squares import LeastSquaresObjective
from gan_gradflow.objectives.nonsaturating import NonsaturatingObjective
from gan_gradflow.objectives.penalties import NoPenalty
from gan_gradflow.objectives.relativistic import RelativisticObjective
from gan_gradflow.objectives.wasserstein import WassersteinObjective
from gan_gradflow.objectives.zero_centred import R1Penalty, R1R2Penalty, R2Penalty

OBJECTIVES = (
    NonsaturatingObjective(),
    HingeObjective(),
    LeastSquaresObjective(),
    WassersteinObjective(),
    RelativisticObjective(),
)
PENALTIES = (
    NoPenalty(),
    R1Penalty(gamma=1.0),
    R2Penalty(gamma=1.0),
    R1R2Penalty(gamma=1.0),
    GradientPenalty(weight=10.0),
)


def named(value) -> str:
    return getattr(value, "__name__", type(value).__name__)


def loop_of(architecture, objective, penalty) -> Loop:
    generator, discriminator, event = architecture()
    loop = Loop(generator, discriminator, batches_for(event))

    def score(samples):
        return discriminator(samples).reshape(len(samples), -1).mean(1)

    def discriminator_loss(reals, fakes):
        reals, fakes = reals.requires_grad_(), fakes.requires_grad_()
        scores = score(reals), score(fakes)
        penalised = penalty(score, reals, fakes, *scores)
        return objective.discriminator_losses(*scores).mean() + penalised

    def generator_loss(fakes):
        reals = score(loop.batches[0]) if objective.paired else None
        return objective.generator_losses(score(fakes), reals).mean()

    loop.discriminator_loss, loop.generator_loss = discriminator_loss, generator_loss
    return loop


def alarms(loop: Loop) -> list[str]:
    return loop.audit().codes(Severity.VIOLATION, Severity.WARNING)


@pytest.mark.parametrize("make", STYLES, ids=named)
def test_a_legitimate_style_raises_no_alarm(make):
    assert alarms(make()) == []


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=named)
def test_an_architecture_raises_no_alarm(architecture):
    assert alarms(loop_of(architecture, OBJECTIVES[0], PENALTIES[0])) == []


@pytest.mark.parametrize("penalty", PENALTIES, ids=named)
@pytest.mark.parametrize("objective", OBJECTIVES, ids=named)
def test_an_objective_with_a_penalty_raises_no_alarm(objective, penalty):
    assert alarms(loop_of(ARCHITECTURES[0], objective, penalty)) == []


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES[1:], ids=named)
def test_every_combination_raises_no_alarm(architecture):
    for objective, penalty in itertools.product(OBJECTIVES, PENALTIES):
        assert alarms(loop_of(architecture, objective, penalty)) == []
