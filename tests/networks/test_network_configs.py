"""Every YAML of a network builds it for the shape of the data."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

CONFIGS = Path(__file__).parents[2] / "configs"


def built(path, event_shape):
    root = OmegaConf.create(
        {"data": {"event_shape": event_shape}, "generator": {"num_classes": 10}}
    )
    root.network = OmegaConf.load(path)
    return instantiate(root.network)


def classes_for(network):
    """Labels of two samples, for a network that is told them."""
    return [torch.tensor([0, 1])] if hasattr(network, "num_classes") else []


def yamls(group):
    """Those of a group that leave nothing to be filled in."""
    paths = sorted((CONFIGS / group).glob("*.yaml"))
    return [path for path in paths if "???" not in path.read_text()]


@pytest.mark.parametrize("path", yamls("generator"), ids=lambda path: path.stem)
def test_a_generator_yaml_builds_a_generator_of_the_data(path):
    network = built(path, [1, 28, 28])
    fakes = network(torch.randn(2, network.latent_dim), *classes_for(network))
    assert fakes.shape == (2, *network.event_shape) == (2, 1, 28, 28)


@pytest.mark.parametrize("path", yamls("discriminator"), ids=lambda path: path.stem)
def test_a_discriminator_yaml_builds_a_discriminator_of_the_data(path):
    network = built(path, [1, 28, 28])
    scores = network(torch.randn(2, 1, 28, 28), *classes_for(network))
    assert scores.shape == (2 // getattr(network, "pack_size", 1),)


@pytest.mark.parametrize(
    ("group", "linear_layers"),
    [("generator", [2, 256, 256, 256, 256, 2]), ("discriminator", [2, *[256] * 3, 1])],
)
def test_the_mlp_yamls_are_the_widths_known_to_solve_the_mixtures(group, linear_layers):
    network = built(CONFIGS / group / "mlp.yaml", [2])
    weights = [p for p in network.parameters() if p.ndim == 2]
    assert [w.shape[1] for w in weights] + [len(weights[-1])] == linear_layers


def test_nothing_in_the_yamls_is_a_default_of_the_class():
    for path in yamls("generator") + yamls("discriminator"):
        cls = type(built(path, [1, 28, 28]))
        assert cls.__init__.__defaults__ is None, path.name
