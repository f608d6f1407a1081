"""The variance that a bridge declares is the variance it has, on a linear critic."""

import pytest
import torch
from conformance import DIM, build, name, variants
from problems import FLOAT, Linear, pull

from gan_gradflow.critic import Critic

ROWS = 20_000


def declares(variant) -> bool:
    bridge = build(variant)
    return bridge.traits.any_emission and bridge.relative_variance(DIM) is not None


KNOWN = [variant for variant in variants() if declares(variant)]


@pytest.mark.parametrize("variant", KNOWN, ids=name)
def test_the_variance_is_the_declared_one(variant):
    # Every row is a draw of its own. Six standard errors of their mean squared error are
    # below 10 %; d for d + 1 would be 17 % away.
    bridge, critic = build(variant), Linear()
    points = torch.zeros(ROWS, DIM, dtype=FLOAT)
    _, found = pull(bridge, Critic(critic), points)
    truth = critic.gradient(points)
    relative = float((found - truth).square().sum(1).mean() / truth[0].square().sum())
    assert relative == pytest.approx(bridge.relative_variance(DIM), rel=0.1, abs=1e-12)


def test_most_bridges_know_their_variance():
    assert len(KNOWN) >= 10
