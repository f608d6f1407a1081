"""Packs of samples: scored together, and right to the constant for both players."""

import pytest
import torch
from torch.optim.lr_scheduler import ConstantLR

from gan_gradflow.modules.discriminator import DiscriminatorModule
from gan_gradflow.networks.augmentations import NoAugmentation
from gan_gradflow.networks.dcgan import DCGANDiscriminator
from gan_gradflow.networks.mlp import MLPDiscriminator
from gan_gradflow.networks.packed import PackedDiscriminator
from gan_gradflow.objectives.gradient_penalty import GradientPenalty
from gan_gradflow.objectives.relativistic import RelativisticObjective
from gan_gradflow.objectives.zero_centred import R1Penalty


def packed(pack_size=2):
    def network(event_shape):
        return MLPDiscriminator(event_shape, 8, 1, norm="none", spectral_norm=False)

    return PackedDiscriminator(pack_size, [3], network).double()


def module(network, penalty=None):
    return DiscriminatorModule(
        network,
        RelativisticObjective(),
        penalty or R1Penalty(1.0),
        NoAugmentation(),
        torch.optim.SGD,
        lambda optimizer: ConstantLR(optimizer, 1.0, 0),
        clip_norm=None,
    )


def samples(count=6):
    return torch.randn(count, 3, dtype=torch.float64)


def test_consecutive_samples_are_scored_side_by_side():
    network, x = packed(), samples()
    torch.testing.assert_close(network(x), network.network(x.view(3, 6)))


def test_images_of_a_pack_are_more_channels():
    def network(event_shape):
        return DCGANDiscriminator(event_shape, 8, norm="none", spectral_norm=False)

    packs = PackedDiscriminator(3, [1, 28, 28], network)
    assert packs(torch.randn(6, 1, 28, 28)).shape == (2,)


def test_the_generators_mean_loss_is_that_of_the_packs():
    network, fakes, reals = packed(), samples().requires_grad_(), samples()
    player = module(network)
    losses = player.generator_losses(fakes, *player.context(reals, None))
    packs = RelativisticObjective().generator_losses(network(fakes), network(reals))
    (found,) = torch.autograd.grad(losses.mean(), fakes)
    (expected,) = torch.autograd.grad(packs.mean(), fakes)
    torch.testing.assert_close((losses.mean(), found), (packs.mean(), expected))


@pytest.mark.parametrize("penalty", [R1Penalty(3.0), GradientPenalty(3.0)])
def test_a_penalty_is_that_of_a_discriminator_of_packs(penalty, monkeypatch):
    monkeypatch.setattr(
        torch, "rand", lambda *shape, **kind: torch.full(shape, 0.5, **kind)
    )
    network, reals, fakes = packed(), samples(), samples()
    _, scalars = module(network, penalty).loss(reals, fakes)
    whole = module(network.network, penalty)
    _, expected = whole.loss(reals.view(3, 6), fakes.view(3, 6))
    assert scalars["loss/penalty"] > 0
    torch.testing.assert_close(scalars, expected)


def test_what_does_not_make_up_packs_is_refused():
    with pytest.raises(ValueError, match="5 samples do not make up packs of 2"):
        packed()(samples(5))
    with pytest.raises(ValueError, match="pack_size must be at least 1, got 0"):
        packed(0)
