import inspect
from pathlib import Path

import pytest
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "data").glob("*.yaml"))


def composed(path):
    run = {"seed": 3, "max_iterations": 7, "n_critic": 2}
    data = OmegaConf.load(path)
    if OmegaConf.is_missing(data, "path"):
        data.path = "a file of the user's"
    return OmegaConf.merge(run, {"data": data}).data


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_writes_out_every_argument(path):
    config = composed(path)
    arguments = inspect.signature(get_class(config._target_)).parameters
    assert set(config) - {"_target_"} == set(arguments)
    assert all(p.default is inspect.Parameter.empty for p in arguments.values())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_takes_the_length_of_the_run(path):
    data = instantiate(composed(path))
    assert (data.seed, data.num_iterations, data.batches_per_iteration) == (3, 7, 2)
    assert all(isinstance(size, int) for size in data.event_shape)
