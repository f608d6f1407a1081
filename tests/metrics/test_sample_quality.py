import inspect
from pathlib import Path

import pytest
import torch
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf

from gan_gradflow.metrics.base import SampleQuality
from gan_gradflow.metrics.none import NoQuality

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "metrics").glob("*.yaml"))


class Mean(SampleQuality):
    primary = "mean"

    def prepare(self, data):
        pass

    def measure(self, fakes):
        return {"mean": fakes.mean().item()}

    def floor(self):
        return {"mean": 0.0}


def test_another_number_of_fakes_is_refused():
    with pytest.raises(ValueError, match=r"measures 4 fakes, got 3.*num_samples=3"):
        Mean(4)(torch.zeros(3, 2))


def test_fakes_that_are_not_finite_are_counted_and_refused():
    fakes = torch.zeros(4, 2, 2)
    fakes[1, 0, 0] = float("nan")
    fakes[3, 1, :] = float("inf")
    with pytest.raises(ValueError, match=r"2 of 4 fakes .* diverged"):
        Mean(4)(fakes)


def test_no_quality_has_no_figures():
    metric = NoQuality()
    assert metric.primary is None
    assert metric.floor() == metric(torch.zeros(0, 2)) == {}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_writes_out_every_argument(path):
    whole = {"metrics": OmegaConf.load(path), "data": {"parameters": [1.0]}}
    config = OmegaConf.create(whole).metrics
    arguments = inspect.signature(get_class(config._target_)).parameters
    assert set(config) - {"_target_"} == set(arguments)
    assert isinstance(instantiate(config), SampleQuality)
