"""Every YAML of a network builds it for the shape of the data."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch.distributions import Distribution

CONFIGS = Path(__file__).parents[2] / "configs"


# What a network is for, where that is not images.
EVENTS = {
    "lstm": [7],
    "transformer": [7],
    "convolutional_sequence": [7],
    "recurrent_sequence": [7],
    "proposal": [2],
}
MISSING = {"proposal": {"mean": [0.0, 1.0], "std": [1.0, 2.0]}}


def built(path, event_shape):
    root = OmegaConf.create(
        {
            "data": {"event_shape": event_shape, "vocabulary": 5},
            "generator": {"num_classes": 10},
        }
    )
    root.network = OmegaConf.merge(OmegaConf.load(path), MISSING.get(path.stem, {}))
    return instantiate(root.network)


def event_of(path):
    return EVENTS.get(path.stem, [1, 28, 28])


def classes_for(network):
    """Labels of two samples, for a network that is told them."""
    return [torch.tensor([0, 1])] if hasattr(network, "num_classes") else []


def yamls(group):
    """Those of a group that leave nothing to be filled in."""
    paths = sorted((CONFIGS / group).glob("*.yaml"))
    return [path for path in paths if "???" not in path.read_text()]


@pytest.mark.parametrize("path", yamls("generator"), ids=lambda path: path.stem)
def test_a_generator_yaml_builds_a_generator_of_the_data(path):
    event = event_of(path)
    network = built(path, event)
    fakes = network(torch.randn(2, network.latent_dim), *classes_for(network))
    if isinstance(fakes, Distribution):
        assert fakes.batch_shape == (2,)
        fakes = fakes.sample()
    assert fakes.shape == (2, *network.event_shape) == (2, *event)


@pytest.mark.parametrize("path", yamls("discriminator"), ids=lambda path: path.stem)
def test_a_discriminator_yaml_builds_a_discriminator_of_the_data(path):
    event = event_of(path)
    network = built(path, event)
    samples = torch.rand(2, *event)  # or tokens 0
    scores = network(samples, *classes_for(network))
    positions = event if getattr(network, "per_position", False) else []
    assert scores.shape == (2 // getattr(network, "pack_size", 1), *positions)


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
        cls = type(built(path, event_of(path)))
        assert cls.__init__.__defaults__ is None, path.name
