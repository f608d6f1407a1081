"""What crosses of a batch: no element's variance is lost, and the YAML builds it."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from problems import FLOAT

from gan_gradflow.bridges.statistics import LowRankStatistics, Statistics

GROUP = Path(__file__).parents[2] / "configs/bridge/statistics"


def covariance_of(moments):
    covariance = moments.factor @ moments.factor.T
    return (
        covariance
        if moments.scale is None
        else covariance + moments.scale**2 * torch.eye(len(moments.mean), dtype=FLOAT)
    )


@pytest.mark.parametrize("path", sorted(GROUP.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_choice_keeps_the_mean_and_each_elements_variance(path):
    statistics = instantiate(OmegaConf.load(path))
    x = torch.randn(8, 6, dtype=FLOAT) @ torch.randn(6, 6, dtype=FLOAT)
    moments = statistics(x)
    assert isinstance(statistics, Statistics)
    torch.testing.assert_close(moments.mean, x.mean(0))
    torch.testing.assert_close(covariance_of(moments).diag(), x.var(0, correction=0))


@pytest.mark.parametrize("shape", [(7, 30), (30, 7)])
def test_low_rank_is_the_covariance_along_its_leading_directions(shape):
    x = torch.randn(shape, dtype=FLOAT)
    moments = LowRankStatistics(3)(x)
    values, vectors = torch.linalg.eigh(x.T.cov(correction=0))
    expected = vectors[:, -3:] * values[-3:] @ vectors[:, -3:].T
    torch.testing.assert_close(moments.factor @ moments.factor.T, expected)


@pytest.mark.parametrize("batch", [5, 12])
def test_rank_is_at_most_what_the_batch_and_the_sample_have(batch):
    moments = LowRankStatistics(16)(torch.randn(batch, 6, dtype=FLOAT))
    assert moments.rank == min(batch - 1, 6)
    assert moments.scale.abs().max() < 1e-10
