"""What cannot be audited is reported, never raised."""

import json

import pytest
import torch
from loops import EVENT, LATENT, Loop, mlp_generator
from torch import nn
from torch.nn.functional import softplus

from gan_gradflow.audit import audit


class Scaled(nn.Module):
    """A player without parameters."""

    def forward(self, inputs):
        return inputs[:, :1].expand(-1, EVENT)


def codes_of(loop: Loop) -> list[str]:
    report = loop.audit()
    json.loads(report.to_json())
    assert str(report)
    return report.codes()


def test_a_step_that_raises():
    loop = Loop()
    loop.discriminator_step = lambda reals: 1 / 0
    assert "step-raised" in codes_of(loop)


def test_a_step_that_is_not_callable():
    loop = Loop()
    loop.generator_step = "step"
    assert "step-raised" in codes_of(loop)


def test_a_step_that_lacks_its_batch_is_told_how_to_get_it():
    loop = Loop()
    loop.batches = []
    raised = [f for f in loop.audit().findings if f.code == "step-raised"]
    assert "batches=" in raised[0].message


def test_a_generator_without_parameters():
    generator = Scaled()
    loop = Loop()
    loop.generator = generator
    loop.optimizer_g = loop.optimizer_d
    assert "no-parameters" in codes_of(loop)


def test_a_lazy_generator_that_never_ran():
    loop = Loop()
    loop.generator = nn.LazyLinear(EVENT)
    loop.optimizer_g = torch.optim.Adam(loop.generator.parameters())
    assert codes_of(loop) == ["no-parameters"]


def test_one_network_as_both_players():
    loop = Loop()
    loop.generator = loop.discriminator
    assert "shared-parameters" in codes_of(loop)


@pytest.mark.parametrize("network", [None, mlp_generator, {"weight": torch.ones(1)}])
def test_something_that_is_no_module(network):
    loop = Loop()
    loop.generator = network
    assert codes_of(loop) == ["not-a-module"]


def test_a_loss_that_is_not_finite():
    loop = Loop()
    loop.generator_loss = lambda fakes: (loop.discriminator(fakes) * 1e30).pow(3).mean()
    assert {"non-finite-loss", "non-finite-gradient"} <= set(codes_of(loop))


def test_a_player_that_is_called_by_its_parts_only():
    loop = Loop()
    parts = list(loop.discriminator)

    def score(samples):
        for part in parts:
            samples = part(samples)
        return samples

    loop.discriminator_loss = lambda reals, fakes: (
        softplus(-score(reals)) + softplus(score(fakes))
    ).mean()
    loop.generator_loss = lambda fakes: softplus(-score(fakes)).mean()
    assert "discriminator-not-called" in codes_of(loop)


def test_scores_that_are_not_one_per_sample_are_not_judged():
    discriminator = nn.Linear(EVENT, 4)
    loop = Loop(discriminator=discriminator)
    loop.discriminator_loss = lambda reals, fakes: (
        softplus(discriminator(fakes)) + softplus(-discriminator(reals))
    ).mean()
    assert "scores-not-attributed" in codes_of(loop)


def test_an_integer_parameter():
    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(LATENT, EVENT)
            self.codes = nn.Parameter(torch.arange(3), requires_grad=False)

        def forward(self, latents):
            return self.body(latents)

    report = Loop(generator=Table()).audit()
    assert report.ok


def test_both_steps_missing_everything():
    report = audit(nn.Linear(1, 1), nn.Linear(1, 1), lambda: None, lambda: None)
    assert not report.ok
