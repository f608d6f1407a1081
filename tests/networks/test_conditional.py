"""Networks that are told a class: what it changes, and what it does not."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from gan_gradflow.networks.conditional import (
    ConditionalGenerator,
    ProjectionDiscriminator,
)
from gan_gradflow.networks.dcgan import DCGANDiscriminator
from gan_gradflow.networks.mlp import MLPDiscriminator, MLPGenerator

LABELS = torch.tensor([0, 1, 2, 0])


def generator(latent_dim=3, num_classes=3):
    def network(latent_dim):
        return MLPGenerator(latent_dim, [2], 8, 1, norm="none", output="linear")

    return ConditionalGenerator(latent_dim, num_classes, network)


def mlp(spectral_norm=False):
    return MLPDiscriminator([2], 8, 2, "none", spectral_norm)


def test_a_sample_follows_latent_and_class():
    network, latents = generator(), torch.ones(4, 3)
    fakes = network(latents, LABELS)
    assert fakes.shape == (4, *network.event_shape)
    assert torch.equal(fakes[0], fakes[3])
    assert len(fakes.unique(dim=0)) == 3


def test_a_score_is_the_networks_and_a_product_with_the_features():
    network, samples = ProjectionDiscriminator(3, mlp()), torch.randn(4, 2)
    features = network.network.features(samples)
    products = (features * network.projection.weight[LABELS]).sum(1)
    expected = network.network(samples) + products
    torch.testing.assert_close(network(samples, LABELS), expected)


def test_images_are_scored_as_of_their_class():
    network = ProjectionDiscriminator(
        3, DCGANDiscriminator([1, 28, 28], 8, "none", False)
    )
    scores = network(torch.ones(4, 1, 28, 28), LABELS)
    torch.testing.assert_close(scores[0], scores[3])
    assert not torch.isclose(scores[0], scores[1])


@pytest.mark.parametrize("spectral_norm", [True, False])
def test_spectral_norm_is_on_the_projection_where_it_is_on_the_network(spectral_norm):
    network = ProjectionDiscriminator(3, mlp(spectral_norm))
    assert parametrize.is_parametrized(network.projection) is spectral_norm


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: generator(latent_dim=0), "latent_dim"),
        (lambda: generator(num_classes=0), "num_classes"),
        (lambda: ProjectionDiscriminator(0, nn.Identity()), "num_classes"),
    ],
)
def test_a_size_below_one_is_refused_by_name(make, name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        make()
