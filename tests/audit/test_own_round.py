"""This project's own round passes its own audit, whatever the bridge."""

import contextlib

import pytest
import torch
from own_gan import CONFIGS, batch, make_module

from gan_gradflow.audit import Severity
from gan_gradflow.audit.own_round import audit_module

BRIDGES = sorted(path.stem for path in (CONFIGS / "bridge").glob("*.yaml"))


def audited(module):
    return audit_module(module, [batch() for _ in range(3)], contextlib.nullcontext)


@pytest.mark.parametrize("bridge", BRIDGES)
def test_no_bridge_raises_an_alarm(bridge):
    report = audited(make_module(f"bridge={bridge}", "penalty=r1"))
    assert report.codes(Severity.VIOLATION) == []


def test_queries_that_follow_the_noise_raise_no_alarm():
    plan = ("queries=adaptive", "queries.warm_up=0")
    module = make_module("bridge=finite_difference", *plan)
    assert audited(module).codes(Severity.VIOLATION) == []


def test_the_audit_leaves_the_module_as_it_was():
    module = make_module("bridge=adaptive_difference")
    before = {n: t.clone() for n, t in module.state_dict().items()}
    audited(module)
    assert all(torch.equal(t, before[n]) for n, t in module.state_dict().items())


def test_a_generator_that_does_not_learn_is_a_violation():
    module = make_module("optimizer.generator.lr=0.0")
    assert "no-update" in audited(module).codes(Severity.VIOLATION)


def test_a_non_finite_gradient_is_a_finding():
    module = make_module()
    with torch.no_grad():
        next(module.discriminator.network.parameters())[0] = torch.nan
    codes = audited(module).codes(Severity.VIOLATION)
    assert {"step-raised", "non-finite-loss", "non-finite-gradient"} & set(codes)
