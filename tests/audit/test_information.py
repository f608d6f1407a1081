"""What crosses the boundary is told, and what must not cross is found."""

import contextlib

import pytest
import torch
from own_gan import batch, make_bridge, make_module

from gan_gradflow.audit.information import (
    check_information,
    information_tables,
    watch_boundary,
)
from gan_gradflow.bridges.exact import ExactBridge
from gan_gradflow.types import Access


def watch(module, seen=None):
    return watch_boundary(module, seen or batch(), contextlib.nullcontext)


def codes(module, seen=None) -> set[str]:
    return {f.code for f in check_information(watch(module, seen))}


@pytest.mark.parametrize("bridge", ["exact", "finite_difference", "surrogate_input"])
def test_a_bridge_lets_nothing_cross_that_it_should_not(bridge):
    assert codes(make_module(f"bridge={bridge}")) == set()


def test_scores_are_all_that_comes_back_to_a_bridge_that_needs_no_more():
    seen = batch()
    boundary = watch(make_module("bridge=finite_difference"), seen)
    back = {c.what for c in boundary.crossings if not c.inward}
    assert back == {"losses", "scores"}  # scores of the paired reals


def test_rows_are_told_apart_by_value():
    seen = batch()
    boundary = watch(make_module("objective=nonsaturating"), seen)
    crossed, sought = information_tables(boundary, seen.reals, [])
    as_seen = [row[4] for row in crossed.rows]
    assert as_seen[:2] == ["20 reals", "20 raw samples"]
    assert sought.rows[0][3:5] == (0, 0)


def test_statistics_alone_cross_a_surrogate_bridge():
    boundary = watch(make_module("bridge=surrogate_input"))
    samples = boundary.secrets[-1]
    assert (samples.may_cross, samples.reads, samples.copies) == (False, 0, 0)


class Leaking(ExactBridge):
    """Hides the samples from the discriminator's training, and asks about them."""

    def exposed(self, emission):
        return torch.randn_like(emission)


def test_samples_that_cross_behind_a_bridge_are_found():
    module = make_module()
    module.generator.bridge = Leaking()
    assert codes(module) == {"samples-crossed"}


def test_a_copy_of_the_latents_is_found():
    module = make_module()
    network, seen = module.discriminator.network, batch()
    forward = network.forward
    network.forward = lambda samples: forward(samples) + 0 * seen.latents.sum()
    assert codes(module, seen) == {"latents-crossed"}


def test_latents_within_the_samples_are_found():
    module = make_module()
    generator = module.generator.network
    generator.forward = lambda latents: latents.clone().requires_grad_()
    generator.layers = torch.nn.Sequential(torch.nn.Linear(2, 2))
    with contextlib.suppress(RuntimeError):  # nothing of it reaches the weights
        assert "latents-crossed" in codes(module)


def test_a_discriminator_that_reads_the_generators_weights_is_found():
    module = make_module()
    weight = next(module.generator.network.parameters())
    forward = module.discriminator.network.forward
    module.discriminator.network.forward = lambda samples: (
        forward(samples) + 0 * weight.detach().sum()
    )
    assert codes(module) == {"weights-crossed"}


def test_a_gradient_from_a_critic_of_scores_is_found():
    class Cheating(type(make_bridge("finite_difference"))):
        def estimate(self, critic, emission):
            critic.access = Access.GRADIENT
            losses = critic(emission)
            return losses, losses

    module = make_module("bridge=finite_difference")
    module.generator.bridge.__class__ = Cheating
    assert codes(module) == {"gradient-came-back"}
