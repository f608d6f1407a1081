"""A gradient may be right and still be in bad shape."""

import pytest
import torch
from loops import EVENT, LATENT, Loop, mlp_discriminator, mlp_generator
from torch import nn
from torch.nn.functional import softplus

from gan_gradflow.audit import Severity
from gan_gradflow.audit.precision import measure_precision
from gan_gradflow.audit.records import Call


def warnings_of(loop: Loop) -> list[str]:
    return loop.audit().codes(Severity.WARNING)


def scaled_first_layer(factor: float) -> nn.Sequential:
    network = mlp_generator()
    with torch.no_grad():
        network[0].weight.mul_(factor)
    return nn.Sequential(network[0], nn.Tanh(), network[3])


def test_a_saturated_activation_makes_gradients_vanish():
    generator = scaled_first_layer(1e4)
    generator.append(nn.Tanh())
    assert "vanishing-gradients" in warnings_of(Loop(generator=generator))


def test_a_huge_loss_makes_gradients_explode():
    loop = Loop()
    clean = loop.generator_loss
    loop.generator_loss = lambda fakes: 1e6 * clean(fakes)
    assert "exploding-gradients" in warnings_of(loop)


def test_a_confident_discriminator_saturates_the_original_loss():
    loop = Loop()
    with torch.no_grad():
        loop.discriminator[2].bias.sub_(30)
    loop.generator_loss = lambda fakes: -softplus(loop.discriminator(fakes)).mean()
    assert "saturated-scores" in warnings_of(loop)


def test_the_same_discriminator_does_not_saturate_the_other_loss():
    loop = Loop()
    with torch.no_grad():
        loop.discriminator[2].bias.sub_(30)
    assert "saturated-scores" not in warnings_of(loop)


@pytest.mark.parametrize("inside", [True, False], ids=["module", "function"])
def test_dead_units_are_counted(inside):
    class Rectified(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(EVENT, 32), nn.Linear(32, 1)
            self.rectify = nn.ReLU() if inside else torch.relu
            self.first.bias.data[:20] = -100.0

        def forward(self, samples):
            return self.second(self.rectify(self.first(samples)))

    report = Loop(discriminator=Rectified()).audit()
    found = [f for f in report.findings if f.code == "dead-units"]
    assert found[0].message.startswith("20 of 32")


def test_a_dead_discriminator_gives_zero_gradients():
    discriminator = nn.Sequential(mlp_discriminator()[0], nn.ReLU(), nn.Linear(32, 1))
    discriminator[0].bias.data.fill_(-100.0)
    loop = Loop(discriminator=discriminator)
    assert "zero-gradient" in warnings_of(loop)


def test_a_layer_that_never_runs_is_unused():
    class Forgetful(nn.Sequential):
        def forward(self, samples):
            return super().forward(samples)

    discriminator = Forgetful(*mlp_discriminator())
    discriminator.add_module("head", nn.Identity())
    discriminator.head.inner = nn.Linear(3, 3)
    loop = Loop(discriminator=discriminator)
    found = [f for f in loop.audit().findings if f.code == "unused-parameters"]
    names = ("discriminator.head.inner.bias", "discriminator.head.inner.weight")
    assert found[0].names == names


class Cancelling(nn.Module):
    """Adds and takes away a large number, which rounds the small one off."""

    def __init__(self, size: float):
        super().__init__()
        self.body, self.size = nn.Linear(LATENT, EVENT), size

    def forward(self, latents):
        return ((self.body(latents) + self.size) - self.size).square()


def test_cancellation_loses_precision():
    loop = Loop(generator=Cancelling(1e6))
    assert "precision-loss" in warnings_of(loop)


def test_errors_are_those_of_a_direct_comparison():
    network = Cancelling(1e4)
    latents, pull = torch.randn(4, LATENT), torch.randn(4, EVENT)
    call = Call(
        "generator", True, True, False, torch.ones(4), True, ((latents,), {}), False
    )
    call.pull = pull
    measured = measure_precision(network, call)["body"].own
    gradients = []
    for dtype in (torch.float32, torch.float64):
        network.to(dtype).zero_grad()
        network(latents.to(dtype)).backward(pull.to(dtype))
        parts = network.body.bias.grad, network.body.weight.grad.flatten()
        gradients.append(torch.cat(parts).double())
    expected = (gradients[0] - gradients[1]).norm() / gradients[1].norm()
    assert measured == pytest.approx(expected.item(), rel=1e-3)


def test_a_network_that_draws_random_numbers_is_not_compared():
    class Noisy(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs * torch.randn_like(inputs))

    latents = torch.randn(4, LATENT)
    call = Call(
        "generator", True, True, False, torch.ones(4), True, ((latents,), {}), False
    )
    call.pull = torch.randn(4, EVENT)
    assert measure_precision(Noisy(LATENT, EVENT), call) == {}
