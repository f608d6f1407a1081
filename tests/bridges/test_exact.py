"""Backpropagation through the bridge, on tensors and on reparameterised draws."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conformance import VARIANTS, emission, name
from problems import FLOAT, VARIANCES, Coupled, Cubic, Linear, pull
from torch.distributions import Categorical, Normal

from gan_gradflow.bridges.exact import ExactBridge
from gan_gradflow.critic import Critic


@pytest.mark.parametrize("loss", [Linear(), Cubic(), Coupled(3)])
def test_the_pull_is_the_gradient(loss):
    x = torch.randn(4, 3, dtype=FLOAT)
    losses, found = pull(ExactBridge(), Critic(loss), x)
    torch.testing.assert_close(losses, loss(x), rtol=0, atol=0)
    torch.testing.assert_close(found, loss.gradient(x))


def test_a_critic_that_couples_samples_is_differentiated_as_a_whole():
    x = torch.randn(4, 3, dtype=FLOAT)
    _, found = pull(ExactBridge(), Critic(lambda x: x.sum(1) * x.sum()), x)
    torch.testing.assert_close(found, (2 * x.sum()).expand(4, 3))


def test_second_derivatives_are_those_of_the_critic():
    x = torch.randn(4, 3, dtype=FLOAT, requires_grad=True)
    losses = ExactBridge()(Critic(Coupled(3)), x)
    (first,) = torch.autograd.grad(losses.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first[:, 0].sum(), x)
    torch.testing.assert_close(second, Coupled(3).a[0].expand(4, 3))


@pytest.mark.parametrize("case", VARIANCES.values(), ids=VARIANCES.keys())
def test_the_pathwise_variance(case):
    critic, *_, expected = case
    noise = torch.linspace(-12, 12, 4001, dtype=FLOAT)
    weights = Normal(0.0, 1.0).log_prob(noise).exp() * (noise[1] - noise[0])

    class Given(Normal):
        def rsample(self, sample_shape=()):
            return self.loc + self.scale * noise

    mean = torch.ones_like(noise, requires_grad=True)
    losses = ExactBridge()(Critic(critic), Given(mean, 1.5))
    (found,) = torch.autograd.grad(losses.sum(), mean)
    variance = (weights * found**2).sum() - (weights * found).sum() ** 2
    assert float(variance) == pytest.approx(expected, rel=2e-3)


def test_discrete_draws_belong_to_the_score_function():
    with pytest.raises(ValueError, match="choose score_function"):
        ExactBridge()(Critic(Linear()), Categorical(logits=torch.zeros(2, 3)))


def test_a_batch_of_batches_is_vectorised():
    batches = torch.stack([emission(), 2 * emission()])
    critic = Critic(Coupled(6))
    gradient = torch.func.grad(lambda x: ExactBridge()(critic, x).sum())
    found = torch.vmap(gradient)(batches)
    torch.testing.assert_close(found, Coupled(6).gradient(batches))


@pytest.mark.slow
def test_exact_and_finite_difference_compile_into_one_graph():
    script = Path(__file__).with_name("compiled.py")
    chosen = [one for one in map(name, VARIANTS) if one.startswith(("exact", "finite"))]
    command = [sys.executable, script, "one_graph", *chosen]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
