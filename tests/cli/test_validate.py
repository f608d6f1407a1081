"""What the configuration's check lets through, and in which type."""

import pytest
from omegaconf import OmegaConf

from gan_gradflow.cli.errors import ConfigError
from gan_gradflow.cli.validate import validate


def adam(**changes):
    node = {"_target_": "torch.optim.Adam", "_partial_": True, **changes}
    return validate(OmegaConf.create({"adam": node}), {"adam": object})["adam"]


def test_whole_numbers_become_floats_where_floats_are_asked_for() -> None:
    checked = adam(betas=[0, 0.99], eps=1)
    assert [type(beta) for beta in checked["betas"]] == [float, float]
    assert type(checked["eps"]) is float


def test_whole_numbers_stay_whole_where_they_are_asked_for() -> None:
    assert validate(OmegaConf.create({"n": 3}), {"n": int}) == {"n": 3}


@pytest.mark.parametrize("betas", [[0.5], [0.5, "x"], "x", [0.5, True, 1]])
def test_a_list_of_the_wrong_kind_is_named(betas) -> None:
    with pytest.raises(ConfigError, match=r"adam\.betas is"):
        adam(betas=betas)


def test_what_a_class_does_not_take_is_named_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match=r"no key adam\.gamma.*'~adam\.gamma'"):
        adam(gamma=1.0)
