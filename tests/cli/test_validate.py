"""What the configuration's check lets through, and in which type."""

import pytest
from omegaconf import OmegaConf
from torch import nn

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
    with pytest.raises(
        ConfigError, match=r"no key adam\.gamma.*add '~adam\.gamma' to the command"
    ):
        adam(gamma=1.0)


class Base:
    def __init__(self, width: int, depth: float) -> None: ...


class Hands(Base):
    def __init__(self, sigma: float, *args: int, **kwargs: int) -> None: ...


class HandsOn(Hands): ...


class Plain(nn.Module): ...


class TakesAll:
    def __init__(self, **kwargs: int) -> None: ...


def node_of(kind: type, **keys) -> dict:
    node = {"_target_": f"{__name__}.{kind.__qualname__}", **keys}
    return validate(OmegaConf.create({"part": node}), {"part": object})["part"]


@pytest.mark.parametrize("kind", [Hands, HandsOn])
def test_a_class_that_hands_keys_on_takes_those_of_the_one_it_inherits(kind) -> None:
    assert type(node_of(kind, sigma=1, depth=2)["depth"]) is float
    with pytest.raises(ConfigError, match=r"no key part\.dept.*did you mean depth"):
        node_of(kind, sigma=1, dept=2)
    with pytest.raises(ConfigError, match=r"part\.width is 'x', and it must be int"):
        node_of(kind, sigma=1, width="x")
    with pytest.raises(ConfigError, match=r"part\.sigma is missing"):
        node_of(kind, width=1)


def compiled_before(self, *args, **kwargs) -> None: ...


@pytest.mark.parametrize("constructor", [nn.Module.__init__, compiled_before])
def test_a_module_without_a_constructor_of_its_own_takes_no_keys(
    constructor, monkeypatch
) -> None:
    """Compiling replaces the constructor of all modules for the rest of the process."""
    monkeypatch.setattr(nn.Module, "__init__", constructor)
    with pytest.raises(ConfigError, match=r"no key part\.width.*it takes no keys"):
        node_of(Plain, width=1)


def test_a_class_that_takes_all_keys_takes_any() -> None:
    assert node_of(TakesAll, anything=1)["anything"] == 1
