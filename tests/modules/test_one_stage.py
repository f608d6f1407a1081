"""One pass for both players: the very gradient of two passes, or a refusal."""

import pytest
import torch
from rounds import make_module, play
from torch import nn

from gan_gradflow.bridges.exact import ExactBridge
from gan_gradflow.bridges.exact_one_stage import ExactOneStageBridge
from gan_gradflow.critic import BudgetExceededError
from gan_gradflow.modules.adversarial import AdversarialModule
from gan_gradflow.modules.one_stage import shared_pull
from gan_gradflow.networks.augmentations import ImageAugmentation
from gan_gradflow.objectives.base import Objective
from gan_gradflow.objectives.hinge import HingeObjective
from gan_gradflow.objectives.least_squares import LeastSquaresObjective
from gan_gradflow.objectives.nonsaturating import NonsaturatingObjective
from gan_gradflow.objectives.relativistic import RelativisticObjective
from gan_gradflow.objectives.wasserstein import WassersteinObjective
from gan_gradflow.objectives.zero_centred import R1Penalty, R2Penalty

OBJECTIVES = [
    HingeObjective(),
    LeastSquaresObjective(),
    NonsaturatingObjective(),
    RelativisticObjective(),
    WassersteinObjective(),
]


class Scaled(nn.Module):
    """A discriminator whose scores have a given spread around zero."""

    def __init__(self, spread: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        self.spread = spread

    def forward(self, samples):
        return self.spread * self.layers(samples).squeeze(-1)


def judged(objective, spread):
    module = make_module(discriminator=Scaled(spread), objective=objective)
    module.discriminator.penalty = R1Penalty(1.0)
    return module.discriminator


def both_ways(discriminator, dtype):
    """The pull of one pass, and that of the generator's own loss."""
    discriminator = discriminator.to(dtype)
    reals, fakes = torch.randn(2, 64, 4, dtype=dtype)
    leaves = fakes.clone().requires_grad_()
    loss, _, scores = discriminator.scored_loss(reals, leaves, None)
    loss.backward()
    _, shared = shared_pull(discriminator, leaves, *scores, None)
    again = fakes.clone().requires_grad_()
    context = discriminator.context(reals, None)
    discriminator.generator_losses(again, *context).mean().backward()
    return shared, again.grad


@pytest.mark.parametrize("spread", [0.1, 3.0, 30.0])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: type(o).__name__)
def test_the_pull_is_that_of_two_passes(objective, spread):
    shared, own = both_ways(judged(objective, spread), torch.float32)
    # Norm by norm, in float32.
    error = (shared - own).norm(dim=1) / own.norm(dim=1)
    assert error.max() < 1e-5


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: type(o).__name__)
def test_ratios_are_those_of_the_slopes(objective):
    fakes = torch.linspace(-0.9, 3, 8, dtype=torch.float64, requires_grad=True)
    reals = torch.linspace(2, -2, 8, dtype=torch.float64)
    generator = objective.generator_losses(fakes, reals).sum()
    discriminator = objective.discriminator_losses(reals, fakes).sum()
    slopes = [
        torch.autograd.grad(loss, fakes)[0] for loss in (generator, discriminator)
    ]
    ratios = objective.slope_ratios(fakes.detach(), reals)
    torch.testing.assert_close(ratios, slopes[0] / slopes[1])


def test_scores_too_low_for_a_ratio_are_differentiated_once_more():
    shared, own = both_ways(judged(NonsaturatingObjective(), 1000.0), torch.float32)
    torch.testing.assert_close(shared, own, rtol=1e-5, atol=1e-30)


def test_a_round_moves_the_generator_as_the_discriminator_before_it_says(tmp_path):
    module = make_module(ExactOneStageBridge(), discriminator=Scaled(1.0))
    twin = make_module(ExactBridge(), discriminator=Scaled(1.0))
    twin.load_state_dict(module.state_dict())
    seen = []
    module.generator.register_forward_hook(lambda _, args, __: seen.append(args[0]))
    play(module, 1, tmp_path)
    assert len(seen) == 1  # one forward of the generator, too
    losses = twin.bridge(twin.critic, twin.generator(seen[0]))
    losses.mean().backward()
    own = [p.grad for p in module.generator.network.parameters()]
    other = [p.grad for p in twin.generator.network.parameters()]
    torch.testing.assert_close(own, other)


def test_both_players_learn_and_every_sample_is_a_query(tmp_path):
    module = make_module(ExactOneStageBridge(), n_critic=2)
    before = {k: v.clone() for k, v in module.named_parameters()}
    trainer = play(module, 3, tmp_path)
    assert trainer.global_step == 3
    assert module.critic.queries % 3 == 0
    for name, parameter in module.named_parameters():
        assert not torch.equal(parameter, before[name]), name


def test_a_budget_holds_here_too(tmp_path):
    module = make_module(ExactOneStageBridge(), budget=1)
    with pytest.raises(BudgetExceededError):
        play(module, 1, tmp_path)


class NoRatio(Objective):
    paired = False

    def discriminator_losses(self, real_scores, fake_scores):
        return fake_scores - real_scores

    def generator_losses(self, fake_scores, real_scores):
        return -fake_scores


def test_an_objective_without_a_ratio_is_refused():
    with pytest.raises(ValueError, match="NoRatio has no `slope_ratios`"):
        make_module(ExactOneStageBridge(), objective=NoRatio())


def test_batch_norm_in_the_discriminator_is_refused():
    coupled = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
    with pytest.raises(ValueError, match="couples the samples"):
        make_module(ExactOneStageBridge(), discriminator=coupled)


def test_an_augmentation_is_refused():
    augmentation = ImageAugmentation(1.0, 0.5, 0.125, 0.5)
    with pytest.raises(ValueError, match="augmentation=none"):
        make_module(ExactOneStageBridge(), augmentation=augmentation)


def test_a_penalty_on_the_fakes_is_refused():
    module = make_module(ExactBridge())
    module.discriminator.penalty = R2Penalty(1.0)
    module.generator.bridge = ExactOneStageBridge()
    with pytest.raises(ValueError, match="R2Penalty puts a term"):
        AdversarialModule(
            module.generator, module.discriminator, 1, 1, None, None, None, "stop"
        )
