"""Residual networks: shapes, the scale that makes norms unnecessary, and bad sizes."""

import pytest
import torch

from gan_gradflow.networks.residual import ResidualDiscriminator, ResidualGenerator

SHAPES = [[channels, side, side] for channels in (1, 3) for side in (28, 32, 64)]


def generator(shape=(1, 28, 28), latent_dim=5, width=8, num_blocks=1, group_width=4):
    return ResidualGenerator(latent_dim, list(shape), width, num_blocks, group_width)


def discriminator(shape=(1, 28, 28), width=8, num_blocks=1, group_width=4):
    return ResidualDiscriminator(list(shape), width, num_blocks, group_width)


@pytest.mark.parametrize("shape", SHAPES)
def test_fakes_have_the_event_shape_and_one_score_each(shape):
    fakes = generator(shape)(torch.randn(3, 5))
    assert fakes.shape == (3, *shape)
    assert fakes.abs().max() <= 1
    assert discriminator(shape)(fakes).shape == (3,)


@pytest.mark.parametrize("num_blocks", [1, 4])
def test_a_new_network_neither_blows_up_nor_dies_away(num_blocks):
    torch.manual_seed(0)
    fakes = generator(num_blocks=num_blocks, width=32)(torch.randn(64, 5))
    assert 0.1 < fakes.std() < 1
    scores = discriminator(num_blocks=num_blocks, width=32)(torch.randn(64, 1, 28, 28))
    assert 0.01 < scores.std() < 10


def test_a_block_starts_as_the_identity_and_learns():
    block = generator().layers[2]
    x = torch.randn(2, 32, 7, 7)
    assert torch.equal(block(x), x)
    block(x).square().sum().backward()
    assert block.leave.weight.grad.any()


def test_a_score_does_not_depend_on_the_rest_of_the_batch():
    network = discriminator().double()
    samples = torch.randn(4, 1, 28, 28, dtype=torch.float64)
    alone = torch.cat([network(sample) for sample in samples.split(1)])
    torch.testing.assert_close(network(samples), alone)


@pytest.mark.parametrize("network", [generator, discriminator])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": [1, 48, 48]}, r"28, 32 or 64, got \[1, 48, 48\]"),
        ({"shape": [2]}, r"got \[2\]; resize"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"num_blocks": 0}, "num_blocks must be at least 1, got 0"),
        ({"width": 10}, "group_width 4 does not divide it; use width=8"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(network, arguments, message):
    with pytest.raises(ValueError, match=message):
        network(**arguments)
