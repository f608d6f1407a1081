"""What is emitted may be a layer's parameters: one sample is then a whole layer."""

import pytest
import torch
from conformance import build, composed
from problems import FLOAT, pull

from gan_gradflow.critic import Critic
from gan_gradflow.types import Access

INPUTS = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.5, 0.25]], dtype=FLOAT)
TARGETS = torch.tensor([1.0, 0.0, -1.0], dtype=FLOAT)


def layer_loss(parameters):
    """The mean squared error of the layer w.x + b, for each row (w1, w2, b)."""
    outputs = parameters[:, :2] @ INPUTS.T + parameters[:, 2:]
    return (outputs - TARGETS).square().mean(1)


def layers(batch):
    found = torch.randn(batch, 3, generator=torch.Generator().manual_seed(1))
    return found.to(FLOAT)


@pytest.mark.parametrize(
    "variant",
    [
        ("+bridge=exact",),
        ("+bridge=finite_difference", "bridge/directions=coordinate"),
        ("+bridge=implicit", "bridge/equation=identity"),
        ("+bridge=surrogate_input", "bridge/statistics=full"),
    ],
    ids=lambda variant: variant[0].split("=")[1],
)
def test_the_pull_on_a_layer_is_its_parameter_gradient(variant):
    assert composed(variant)
    bridge, emission = build(variant), layers(8)
    access = bridge.traits.access
    truth = torch.func.vmap(torch.func.grad(lambda p: layer_loss(p[None])[0]))(emission)
    _, found = pull(bridge, Critic(layer_loss, access=access), emission)
    step = bridge.step_for(emission) if access is Access.SCORES else 0
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-8 + 20 * step)


def test_a_score_only_layer_learns():
    layer = torch.nn.Linear(2, 1).double()
    bridge = build(("+bridge=spsa",))
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    critic = Critic(layer_loss, access=Access.SCORES)
    torch.manual_seed(0)
    for _ in range(300):
        emission = torch.nn.utils.parameters_to_vector(layer.parameters())[None]
        losses = bridge(critic, emission)
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()
    best = torch.linalg.lstsq(
        torch.cat([INPUTS, torch.ones(3, 1, dtype=FLOAT)], 1), TARGETS[:, None]
    ).solution.T
    assert losses.item() < layer_loss(best).item() + 0.02
