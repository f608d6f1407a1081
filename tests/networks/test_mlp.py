"""What fully connected networks promise."""

import pytest
import torch

from gan_gradflow.networks.mlp import MLPDiscriminator, MLPGenerator

SHAPES = [[1], [2], [3, 4], [1, 28, 28]]
NORMS = ["batch", "group", "none"]


def generator(event_shape=(2,), latent_dim=3, width=8, depth=2, **chosen):
    arguments = {"norm": "none", "output": "linear"} | chosen
    return MLPGenerator(latent_dim, list(event_shape), width, depth, **arguments)


def discriminator(event_shape=(2,), width=8, depth=2, **chosen):
    arguments = {"norm": "none", "spectral_norm": False} | chosen
    return MLPDiscriminator(list(event_shape), width, depth, **arguments)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_fakes_have_the_event_shape_and_one_score_each(shape, norm):
    network = generator(shape, norm=norm)
    fakes = network(torch.randn(5, network.latent_dim))
    assert fakes.shape == (5, *network.event_shape) == (5, *shape)
    assert discriminator(shape, norm=norm)(fakes).shape == (5,)


def test_depth_counts_the_hidden_layers():
    layers = generator(latent_dim=2, width=256, depth=4).layers
    widths = [layer.weight.shape for layer in layers if hasattr(layer, "weight")]
    assert widths == [(256, 2), (256, 256), (256, 256), (256, 256), (2, 256)]


def test_tanh_bounds_the_samples_and_linear_does_not():
    latents = 1e4 * torch.randn(64, 3)
    assert generator(output="linear")(latents).abs().max() > 1
    assert generator(output="tanh")(latents).abs().max() <= 1


@pytest.mark.parametrize("norm", ["group", "none"])
def test_a_score_does_not_depend_on_the_rest_of_the_batch(norm):
    network = discriminator(width=16, norm=norm).double()
    samples = torch.randn(6, 2, dtype=torch.float64)
    alone = torch.cat([network(sample) for sample in samples.split(1)])
    torch.testing.assert_close(network(samples), alone, rtol=0, atol=1e-12)


def test_spectral_norm_makes_the_discriminator_one_lipschitz():
    network = discriminator(width=16, spectral_norm=True).double()
    for _ in range(200):  # power iterations
        network(torch.randn(2, 2, dtype=torch.float64))
    pairs = 10 * torch.randn(2, 256, 2, dtype=torch.float64)
    rise = (network(pairs[0]) - network(pairs[1])).abs()
    assert (rise <= (pairs[0] - pairs[1]).norm(dim=1) + 1e-6).all()


@pytest.mark.parametrize("name", ["latent_dim", "width", "depth"])
def test_a_generator_size_below_one_is_refused_by_name(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        generator(**{name: 0})


@pytest.mark.parametrize("name", ["width", "depth"])
def test_a_discriminator_size_below_one_is_refused_by_name(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        discriminator(**{name: 0})


@pytest.mark.parametrize("shape", [[], [0], [3, -1]])
@pytest.mark.parametrize("network", [generator, discriminator])
def test_an_empty_event_is_refused_with_its_shape(network, shape):
    with pytest.raises(ValueError, match="event_shape") as refusal:
        network(shape)
    assert str(shape) in str(refusal.value)


@pytest.mark.parametrize("network", [generator, discriminator])
def test_a_width_that_group_norm_cannot_divide_is_refused(network):
    with pytest.raises(ValueError, match="12 channels into 8 groups"):
        network(width=12, norm="group")
