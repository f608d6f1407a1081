"""Every bridge that a user can name, built as a user builds it.

A variant is a YAML of `configs/bridge` as it is, or with another option of one of the
groups nested in it, so a new bridge, family of directions or baseline is covered without
an edit here. Where the traits say that the parts fit some emissions only, the YAML's own
choice is the variant. What a bridge learns from call to call stands still here.
"""

import inspect
from functools import cache
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf

CONFIGS = Path(__file__).parents[2] / "configs"
BATCH, DIM = 8, 6


def nested_groups(path):
    """The config groups that a YAML takes a default from, and the option it takes."""
    for entry in OmegaConf.load(path).get("defaults", []):
        if isinstance(entry, DictConfig):
            yield from ((group.lstrip("/"), option) for group, option in entry.items())


def variants():
    """Hydra overrides, one tuple for each bridge and each of its nested options."""
    for path in sorted((CONFIGS / "bridge").glob("*.yaml")):
        own = dict(nested_groups(path))
        if not get_class(OmegaConf.load(path)._target_).traits.any_emission:
            own = {}
        yield (f"+bridge={path.stem}", *chosen(own))
        for group in own:
            if group == "baseline":
                # Not every baseline takes out what is constant; mirrored pairs do.
                own["draws"] = "antithetic"
            for option in sorted((CONFIGS / "bridge" / group).glob("*.yaml")):
                if option.stem != own[group]:
                    yield (f"+bridge={path.stem}", *chosen(own | {group: option.stem}))


def chosen(options):
    return [f"bridge/{group}={option}" for group, option in options.items()]


@cache
def composed(variant):
    with initialize_config_dir(config_dir=str(CONFIGS), version_base="1.3"):
        return compose(overrides=list(variant)).bridge


def build(variant):
    """A new bridge, as `gan-gradflow train` would build it, that learns nothing."""
    return instantiate(composed(variant)).eval()


def name(variant):
    return "-".join(override.split("=")[-1] for override in variant)


def targets(config):
    """Each part of a config that builds an object, with its class."""
    yield config, get_class(config._target_)
    for value in config.values():
        if isinstance(value, DictConfig) and "_target_" in value:
            yield from targets(value)


def ours(constructor):
    return constructor.__module__.startswith("gan_gradflow")


def arguments(constructor):
    """Names of a constructor's arguments, and those with a default in Python."""
    own = any("__init__" in vars(base) for base in constructor.__mro__ if ours(base))
    found = inspect.signature(constructor).parameters.values() if own else ()
    defaults = {one.name for one in found if one.default is not one.empty}
    return {one.name for one in found}, defaults


VARIANTS = list(variants())
every_bridge = pytest.mark.parametrize("variant", VARIANTS, ids=name)


class Oracle:
    """A critic's function that remembers what it saw."""

    def __init__(self, loss):
        self.loss = loss
        self.seen = []

    def __call__(self, samples, *context):
        self.seen.append(samples)
        return self.loss(samples, *context)

    @property
    def queries(self):
        return sum(len(samples) for samples in self.seen)


class Poison(torch.autograd.Function):
    """The identity, which raises where it is differentiated."""

    @staticmethod
    def forward(ctx, losses):
        return losses.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise AssertionError("the critic was differentiated")


def gradient_of_what_is_seen(bridge, loss, x, step=1e-4):
    """The gradient of loss(exposed(x)), by central differences along the axes."""
    if bridge.traits.stand_ins:
        return loss.gradient(x)
    x = x.double()
    axes = step * torch.eye(x.shape[1], dtype=x.dtype)
    above, below = (
        torch.stack([loss(bridge.exposed(x + sign * axis)) for axis in axes], 1)
        for sign in (1, -1)
    )
    return (above - below) / (2 * step)


def emission(*event, batch=BATCH, dtype=torch.float64):
    """Samples away from zero, other ones for each row."""
    shape = (batch, *(event or (DIM,)))
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
