"""Augmentation in the round: both sides are augmented, and a bridge's questions alike."""

import pytest
import torch
from rounds import BRIDGES, TinyDiscriminator, make_module, play
from torch import nn

from gan_gradflow.bridges.directions import CoordinateDirections
from gan_gradflow.bridges.exact import ExactBridge
from gan_gradflow.bridges.finite_difference import FiniteDifferenceBridge
from gan_gradflow.networks.augmentations import Augmentation
from gan_gradflow.objectives.relativistic import RelativisticObjective
from gan_gradflow.processes import ALONE, Processes


class Scaled(Augmentation):
    """Each sample times its draw: of either sign, and of any size up to a half."""

    num_draws = 1

    def __call__(self, samples, draws):
        return samples * (draws.to(samples.dtype) - 0.5)


def pull(bridge, critic, emission):
    leaf = emission.clone().requires_grad_()
    return torch.autograd.grad(bridge(critic, leaf).sum(), leaf)[0]


def module(bridge=None, **settings):
    return make_module(
        bridge,
        discriminator=TinyDiscriminator(),
        augmentation=Scaled(),
        objective=RelativisticObjective(),
        **settings,
    )


def test_all_questions_about_a_sample_meet_the_same_draws():
    round_ = module().double().eval()  # spectral norm stands still
    x, reals = (torch.randn(6, 4, dtype=torch.float64) for _ in range(2))
    difference = FiniteDifferenceBridge(CoordinateDirections(), central=True, step=1e-5)
    round_.critic.context = round_.discriminator.context(reals, None)
    exact = pull(ExactBridge(), round_.critic, x)
    found = pull(difference, round_.critic, x)
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-7)


def test_draws_differ_from_sample_to_sample_and_call_to_call():
    player = module().discriminator
    draws = [player.context(torch.zeros(6, 4), None)[0] for _ in range(2)]
    assert len(torch.cat(draws).unique()) == 12


def test_half_a_batch_meets_the_draws_it_has_in_the_whole_one():
    player, samples = module().discriminator, torch.zeros(6, 4)

    def drawn(rows, processes):
        player.processes = processes
        torch.manual_seed(0)
        return torch.stack([player.context(rows, None)[0] for _ in range(2)])

    halves = [drawn(samples[:3], Processes(rank, 2)) for rank in range(2)]
    assert torch.equal(torch.cat(halves, dim=1), drawn(samples, ALONE))


@pytest.mark.parametrize("bridge", BRIDGES)
def test_the_discriminator_sees_neither_reals_nor_fakes_as_they_are(bridge, tmp_path):
    round_ = module(BRIDGES[bridge]())
    play(round_, 2, tmp_path)
    seen = torch.cat(round_.discriminator.network.seen)
    assert seen.isfinite().all()
    weights = nn.utils.parameters_to_vector(round_.generator.network.parameters())
    assert weights.isfinite().all()
