"""A frozen discriminator: one network for all questions, and as it was afterwards."""

import pytest
import torch
from rounds import BRIDGES, make_module
from torch import nn

from gan_gradflow.datamodules.base import Batch
from gan_gradflow.modules.freezing import frozen
from gan_gradflow.objectives.relativistic import RelativisticObjective

KINDS = {
    "parametrization": nn.utils.parametrizations.spectral_norm,
    "hook": nn.utils.spectral_norm,
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def discriminator(kind: str) -> nn.Module:
    torch.manual_seed(0)
    first = KINDS[kind](nn.Linear(4, 8))
    layers = nn.Sequential(first, nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0)).double()
    with torch.no_grad():  # so that the power iteration is far from its end
        for weight in first.parameters():
            weight.copy_(torch.randn_like(weight))
    return layers


@each_kind
def test_the_size_of_the_chunks_changes_no_answer(kind) -> None:
    module = make_module(
        BRIDGES["finite_difference"](), discriminator=discriminator(kind)
    )
    samples = torch.randn(6, 4, dtype=torch.float64)
    answers = []
    for module.critic.chunk_size in (None, 1, 4):
        with frozen(module.discriminator.network):
            answers.append(module.critic(samples))
    torch.testing.assert_close(answers[1:], [answers[0]] * 2, rtol=1e-12, atol=0)


@each_kind
def test_everything_is_afterwards_as_it_was(kind) -> None:
    network = discriminator(kind)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with frozen(network):
        network(torch.randn(3, 4, dtype=torch.float64))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert all(part.training for part in network.modules())
    assert all(p.requires_grad for p in network.parameters())
    network(torch.randn(3, 4, dtype=torch.float64))  # iterates again
    assert any(not torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_measuring_the_chunk_size_leaves_the_discriminator_as_it_was() -> None:
    bridge = BRIDGES["finite_difference"]()
    module = make_module(bridge, objective=RelativisticObjective())
    network = module.discriminator.network
    with torch.no_grad():
        network.layers[0].parametrizations.weight.original.normal_()
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    module._choose_chunk_size(Batch(torch.randn(1, 64, 4), None))
    assert all(torch.equal(b, before[name]) for name, b in network.named_buffers())
    assert module.critic.chunk_size is not None
