"""A user's own networks: as the page says, or what they lack is told before the run."""

import re

import pytest
import torch
from short_run import ROOT
from torch import nn
from torch.distributions import Bernoulli

from gan_gradflow.cli.errors import ConfigError
from gan_gradflow.cli.networks import (
    check_discriminator,
    check_emission,
    check_generator,
)


class Bare(nn.Module):
    """Points in the plane from latents, and no attributes."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, latents):
        return self.layer(latents)


class WithClasses(Bare):
    """Says that it makes classes, and does not take them."""

    latent_dim, event_shape, num_classes = 2, (2,), 8


class Wide(Bare):
    """Says that its points have three coordinates."""

    latent_dim, event_shape = 2, (3,)


class Column(nn.Module):
    """Scores in a column."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, samples):
        return self.layer(samples)


def having(**attributes):
    network = Bare()
    for name, value in attributes.items():
        setattr(network, name, value)
    return network


def refused(cli, tmp_path, player, name, *overrides):
    folder = tmp_path / "mine" / player
    folder.mkdir(parents=True)
    node = name if "_target_" in name else f"_target_: {__name__}.{name}\n"
    (folder / "own.yaml").write_text(node)
    own = ("--config-dir", "mine", f"{player}=own", "data.num_train=500")
    result = cli("train", "experiment=ring", *own, *overrides)
    assert result.code == 2
    assert len(result.err.splitlines()) == 1
    assert not list((tmp_path / "outputs").glob("*"))
    return result.err


def test_a_generator_without_attributes_is_told_what_to_set(cli, tmp_path):
    told = refused(cli, tmp_path, "generator", "Bare")
    assert told.startswith(
        "gan-gradflow train: generator: Bare has no latent_dim and no event_shape; set "
        "self.latent_dim (the length of a latent, such as 64) and self.event_shape"
    )


def test_a_generator_that_does_not_take_its_classes_is_named(cli, tmp_path):
    told = refused(
        *(cli, tmp_path, "generator", "WithClasses"),
        *("discriminator=conditional_mlp", "discriminator.num_classes=8"),
    )
    assert "generator: it cannot turn [100, 2] latents and their labels into" in told


def test_a_column_of_scores_is_told_how_to_become_a_row(cli, tmp_path):
    told = refused(cli, tmp_path, "discriminator", "Column")
    assert "discriminator: Column scores 2 samples with [2, 1]; it must return" in told
    assert "[2]; scores.squeeze(1) takes the last 1 away" in told


def test_a_layer_in_a_list_that_cannot_be_built_is_told_as_it_says(cli, tmp_path):
    layer = "{_target_: torch.nn.Linear, in_features: 2, out_features: -3}"
    node = f"_target_: torch.nn.Sequential\n_args_: [{layer}]\n"
    assert "negative dimension -3" in refused(cli, tmp_path, "discriminator", node)


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (having(event_shape=(2,)), "Bare has no latent_dim; set self.latent_dim"),
        (having(latent_dim=2), "Bare has no event_shape; set self.event_shape"),
        (having(latent_dim=0, event_shape=(2,)), "latent_dim of Bare is 0"),
        (having(latent_dim=2, event_shape="28"), "event_shape of Bare is '28'"),
        (having(latent_dim=2, event_shape=[2.0]), r"event_shape of Bare is \[2.0\]"),
        (
            having(latent_dim=2, event_shape=(2,), num_classes="ten"),
            "num_classes of Bare is 'ten'",
        ),
        (torch.sin, "generator: .* is no torch.nn.Module"),
    ],
)
def test_what_a_generator_lacks_is_named(network, told):
    with pytest.raises(ConfigError, match=told):
        check_generator(network)


def test_a_discriminator_of_positions_needs_their_number():
    check_discriminator(having())
    with pytest.raises(ConfigError, match="discriminator: Bare has no event_shape"):
        check_discriminator(having(per_position=True))


@pytest.mark.parametrize(
    ("emission", "told"),
    [
        (torch.zeros(5, 2), r"5 latents into \[5, 2\]; .* must be \[5, 3\]"),
        (torch.zeros(3), r"into \[3\]"),
        (Bernoulli(torch.zeros(5, 2)), r"into \[5, 2\]"),
        ((torch.zeros(5, 3),), "returns a tuple; it must return samples"),
    ],
)
def test_an_emission_of_another_shape_is_named(emission, told):
    with pytest.raises(ConfigError, match=f"generator: Wide .*{told}"):
        check_emission(Wide(), emission, 5)


def test_the_example_of_the_page_trains_and_is_drawn_from(cli, tmp_path):
    page = (ROOT / "docs" / "networks.md").read_text(encoding="utf-8")
    files = re.findall(r"^`(\S+)`:\n\n```\w+\n(.*?)^```", page, re.M | re.S)
    assert len(files) == 4
    for name, text in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    train, sample = re.findall(r"^    gan-gradflow (.*)$", page, re.M)
    short = ("max_iterations=1", "metrics=none", "trainer.log_every_n_steps=1")
    assert cli(*train.split(), *short).code == 0
    drawn = cli(*sample.split())
    assert drawn.code == 0, drawn.err
    assert drawn.out.endswith("samples.png\n")
