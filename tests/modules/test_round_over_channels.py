"""The round with a channel: who receives what, and which gradient comes back."""

import pytest
import torch
from rounds import BRIDGES, TinyData, TinyDiscriminator, make_module, play
from torch.distributions import Bernoulli, Independent

from gan_gradflow.bridges.straight_through import StraightThroughBridge
from gan_gradflow.channels.affine import AffineChannel
from gan_gradflow.channels.awgn import AWGNChannel
from gan_gradflow.channels.quantize import QuantizeChannel
from gan_gradflow.channels.threshold import ThresholdChannel
from gan_gradflow.modules.compatibility import DeadEndError


@pytest.mark.parametrize("on_reals", [True, False])
def test_the_discriminator_receives_nothing_but_what_came_through(on_reals, tmp_path):
    discriminator = TinyDiscriminator()
    module = make_module(
        BRIDGES["finite_difference"](),
        channel=ThresholdChannel(0.0, on_reals, True),
        discriminator=discriminator,
    )
    play(module, 1, tmp_path)
    reals, *fakes = discriminator.seen
    expected = TinyData(1).reals[0, 0]
    assert torch.equal(reals, expected.sign() if on_reals else expected)
    assert len(fakes) > 1
    assert set(torch.cat(fakes).flatten().tolist()) <= {-1.0, 1.0}


def test_a_bridge_that_needs_a_gradient_is_refused_over_a_channel_without_one():
    with pytest.raises(DeadEndError, match="QuantizeChannel lets none pass"):
        make_module(channel=QuantizeChannel(2, True, True))


def test_straight_through_takes_the_gradient_behind_the_channel_for_its_own():
    channel = QuantizeChannel(2, True, True)
    module = make_module(StraightThroughBridge(None), channel=channel)
    x = torch.randn(5, 4).requires_grad_()
    losses = module.bridge(module.critic, x)
    (found,) = torch.autograd.grad(losses.sum(), x)
    y = channel(x).requires_grad_()
    behind = module.discriminator.generator_losses(y)
    (expected,) = torch.autograd.grad(behind.sum(), y)
    torch.testing.assert_close(losses, behind)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("scale", [2.0, -0.5])
def test_straight_through_leaves_the_derivative_of_a_channel_that_has_one(scale):
    channel = AffineChannel(scale, -1.0, False, True)
    module = make_module(StraightThroughBridge(None), channel=channel)
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0])
    module.discriminator.generator_losses = lambda x: -(x @ weight)
    chances = torch.full((5, 4), 0.5, requires_grad=True)
    losses = module.bridge(module.critic, Independent(Bernoulli(chances), 1))
    (found,) = torch.autograd.grad(losses.sum(), chances)
    torch.testing.assert_close(found, (-scale * weight).expand(5, 4))


@pytest.mark.parametrize("on_samples", [True, False])
def test_samples_go_through_where_the_channel_is_part_of_the_product(on_samples):
    module = make_module(
        BRIDGES["score_function"](), channel=ThresholdChannel(0.0, True, on_samples)
    )
    fakes = module.generator.sample(torch.randn(9, 3), averaged=False)
    assert (set(fakes.flatten().tolist()) <= {-1.0, 1.0}) is on_samples


def test_the_score_functions_mean_pull_is_the_exact_one_over_noise():
    # 20 000 samples of a linear discriminator behind noise: standard error 2 %.
    module = make_module(
        BRIDGES["score_function"](), channel=AWGNChannel(0.1, True, False)
    )
    weight = torch.tensor([1.0, -2.0, 0.5, 3.0])
    module.critic.function = lambda x: module.channel(x) @ weight
    x = torch.zeros(20_000, 4, requires_grad=True)
    (pulls,) = torch.autograd.grad(module.bridge(module.critic, x).sum(), x)
    torch.testing.assert_close(pulls.mean(0), weight, rtol=0, atol=0.3)
