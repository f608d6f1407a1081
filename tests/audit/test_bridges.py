"""Gradients that are estimated from scores are audited like any other."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from loops import Loop
from torch.nn.functional import softplus

from gan_gradflow.audit import AuditReport, Severity
from gan_gradflow.audit.plots import direction_plot
from gan_gradflow.critic import Critic

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = ("exact", "finite_difference", "score_function", "surrogate_input")


def audited(bridge, sign: float = -1.0) -> AuditReport:
    loop = Loop(restore=[bridge])

    def generator_loss(emission):
        critic = Critic(
            lambda samples: softplus(sign * loop.discriminator(samples)),
            access=bridge.traits.access,
        )
        return bridge(critic, emission).mean()

    def discriminator_step(reals):
        loop.optimizer_d.zero_grad()
        with torch.no_grad():
            exposed = bridge.exposed(loop.fakes())
        loss = loop.discriminator_loss(reals, exposed)
        loss.backward()
        loop.optimizer_d.step()
        return loss

    loop.generator_loss, loop.discriminator_step = generator_loss, discriminator_step
    return loop.audit()


def build(name: str):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return instantiate(compose(overrides=[f"+bridge={name}"]).bridge)


@pytest.mark.parametrize("name", NAMES)
def test_a_bridge_raises_no_alarm(name):
    report = audited(build(name))
    assert report.codes(Severity.VIOLATION, Severity.WARNING) == []


@pytest.mark.parametrize(
    ("name", "source", "label"),
    [
        ("exact", "from autograd", "predicted"),
        ("finite_difference", "from scores", "predicted by\nan estimate"),
    ],
)
def test_an_estimate_is_shown_as_one(name, source, label):
    """Its prediction is above what a step does, and no finding."""
    (table,) = (t for t in audited(build(name)).tables if t.title == "Direction")
    assert table.rows[1][table.columns.index("gradient")] == source
    bars = [text.get_text() for text in direction_plot(table).axes[1].get_yticklabels()]
    assert bars == [label, "measured"]


@pytest.mark.parametrize("name", NAMES[:3])  # the last shows no single fake
def test_a_wrong_sign_is_found_whatever_the_bridge_may_ask(name):
    assert "wrong-sign-generator" in audited(build(name), sign=1.0).codes()
