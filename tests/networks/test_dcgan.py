"""What convolutional networks promise."""

import pytest
import torch
from torch import nn

from gan_gradflow.networks.dcgan import DCGANDiscriminator, DCGANGenerator

NORMS = ["batch", "group", "none"]
SHAPES = [[channels, side, side] for channels in (1, 2, 3) for side in (28, 32, 64)]


def generator(event_shape=(1, 28, 28), latent_dim=4, width=8, norm="none"):
    return DCGANGenerator(latent_dim, list(event_shape), width, norm)


def discriminator(event_shape=(1, 28, 28), width=8, norm="none", spectral_norm=False):
    return DCGANDiscriminator(list(event_shape), width, norm, spectral_norm)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_fakes_are_images_in_the_unit_range(shape, norm):
    network = generator(shape, norm=norm)
    fakes = network(100 * torch.randn(3, network.latent_dim))
    assert fakes.shape == (3, *network.event_shape) == (3, *shape)
    assert fakes.abs().max() <= 1


@pytest.mark.parametrize("spectral_norm", [True, False])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_each_image_gets_one_score(shape, norm, spectral_norm):
    network = discriminator(shape, norm=norm, spectral_norm=spectral_norm)
    assert network(torch.randn(3, *shape)).shape == (3,)


def test_scores_are_raw():
    scores = discriminator()(1e3 * torch.randn(32, 1, 28, 28))
    assert scores.min() < 0
    assert scores.max() > 1


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_in_evaluation_a_score_does_not_depend_on_the_rest_of_the_batch(shape, norm):
    network = discriminator(shape, norm=norm).double().eval()
    images = torch.randn(3, *shape, dtype=torch.float64)
    alone = torch.cat([network(image) for image in images.split(1)])
    torch.testing.assert_close(network(images), alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", ["group", "none"])
def test_in_training_too_unless_the_norm_is_over_the_batch(norm):
    network = discriminator(norm=norm).double()
    images = torch.randn(3, 1, 28, 28, dtype=torch.float64)
    alone = torch.cat([network(image) for image in images.split(1)])
    torch.testing.assert_close(network(images), alone, rtol=0, atol=1e-12)


def test_batch_norm_couples_the_scores_of_a_batch_in_training():
    network = discriminator(norm="batch").double()
    images = torch.randn(4, 1, 28, 28, dtype=torch.float64)
    assert not torch.allclose(network(images)[:2], network(images[:2]))


@pytest.mark.parametrize("norm", NORMS)
def test_every_parameter_of_both_networks_gets_a_gradient(norm):
    players = nn.Sequential(generator(norm=norm), discriminator(norm=norm))
    players(torch.randn(4, 4)).square().sum().backward()
    gradients = [p.grad.abs().max() for p in players.parameters()]
    assert torch.stack(gradients).min() > 0


def test_the_memory_format_changes_speed_and_not_the_scores():
    players = nn.Sequential(generator(norm="batch"), discriminator()).double()
    latents = torch.randn(4, 4, dtype=torch.float64)
    scores = players(latents)
    players.to(memory_format=torch.channels_last)
    torch.testing.assert_close(players(latents), scores, rtol=0, atol=1e-12)


def test_spectral_norm_holds_each_weight_at_norm_one():
    network = discriminator(spectral_norm=True).double()
    for _ in range(200):  # power iterations
        network(torch.randn(1, 1, 28, 28, dtype=torch.float64))
    weights = [m.weight for m in network.layers if hasattr(m, "parametrizations")]
    norms = torch.stack([torch.linalg.matrix_norm(w.flatten(1), 2) for w in weights])
    torch.testing.assert_close(norms, torch.ones_like(norms), rtol=0, atol=1e-4)


@pytest.mark.parametrize("network", [generator, discriminator])
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ([1, 48, 48], "48 x 48 .* 28 x 28, 32 x 32 or 64 x 64"),
        ([1, 28, 32], "28 x 32 .* 28 x 28, 32 x 32 or 64 x 64"),
        ([0, 28, 28], "at least 1 channel, got 0"),
        ([2], r"\[channels, height, width\], got \[2\]; choose mlp"),
    ],
)
def test_a_shape_that_cannot_be_made_is_refused_with_those_that_can(
    network, shape, message
):
    with pytest.raises(ValueError, match=message):
        network(shape)


def test_sizes_below_one_are_refused_by_name():
    with pytest.raises(ValueError, match="latent_dim must be at least 1, got 0"):
        generator(latent_dim=0)
    for network in (generator, discriminator):
        with pytest.raises(ValueError, match="width must be at least 1, got -3"):
            network(width=-3)


@pytest.mark.parametrize("network", [generator, discriminator])
def test_a_width_that_group_norm_cannot_divide_is_refused(network):
    with pytest.raises(ValueError, match="into 8 groups; choose a width"):
        network(width=6, norm="group")
