"""Every seeded mistake is found, named, and nothing else is blamed."""

import functools

import pytest
import torch
from bugs import BUGS

from gan_gradflow.audit import CATALOGUE, AuditReport, Severity


@functools.cache
def report_on(make) -> AuditReport:
    torch.manual_seed(0)
    return make().audit()


@pytest.mark.parametrize("make", BUGS, ids=lambda make: make.__name__)
def test_a_seeded_mistake_is_named(make):
    codes = report_on(make).codes(Severity.VIOLATION, Severity.WARNING)
    assert BUGS[make][0] in codes


@pytest.mark.parametrize("make", BUGS, ids=lambda make: make.__name__)
def test_nothing_but_the_mistake_and_its_consequences_is_a_violation(make):
    assert set(report_on(make).codes(Severity.VIOLATION)) <= set(BUGS[make])


def test_the_seeded_mistakes_are_many_and_cover_most_of_the_catalogue():
    grave = {
        c for c, entry in CATALOGUE.items() if entry.severity is Severity.VIOLATION
    }
    seeded = {code for codes in BUGS.values() for code in codes}
    assert len(BUGS) >= 50
    assert len(grave & seeded) >= 0.8 * len(grave)
