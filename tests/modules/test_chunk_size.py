"""The chunk size: what is fastest, of what changes nothing."""

import time

import pytest
import torch

from gan_gradflow.modules.chunk_size import fastest_chunk_size

SAMPLES = torch.arange(12, dtype=torch.float64).view(4, 3)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    times = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: times[0])

    def work(seconds: float) -> None:
        times[0] += seconds

    return work


@pytest.mark.parametrize("best", [2, 4, 8])
def test_the_size_that_takes_least_time_is_chosen(clock, best):
    def score(samples):
        clock(len(samples) * (2 - (len(samples) == best)))
        return samples.sum(1)

    assert fastest_chunk_size(score, SAMPLES, [2, 4, 8]) == best


def test_a_faster_size_with_other_scores_is_not_taken(clock):
    def score(samples):
        clock(1)  # a call, so the largest size would win
        return samples.sum(1) + (1e-9 if len(samples) == 8 else 0)

    assert fastest_chunk_size(score, SAMPLES, [2, 4, 8]) == 4


def test_random_scores_leave_the_smallest_size():
    def score(samples):
        return torch.rand(len(samples))

    assert fastest_chunk_size(score, SAMPLES, [2, 4]) == 2
