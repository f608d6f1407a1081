"""What an experiment sets for one option, where another option was typed.

`experiment=ring` sets `penalty.gamma` for the penalty that it chooses; with `penalty=none`
nobody has asked for it, and no class takes it.
"""

import copy
from collections.abc import Mapping
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from gan_gradflow.cli.signatures import HYDRA_KEYS, find, signature
from gan_gradflow.overrides import last_value, read


def without_leftovers(cfg: DictConfig) -> DictConfig:
    """The configuration without keys of the experiment that a typed option does not take.

    A key stays, to be refused, if it was typed or if the experiment does not set it.

    Args:
        cfg: the composed configuration; what was typed is its `run_overrides`.

    Raises:
        ConfigError: a `_target_` cannot be found.
    """
    typed = _typed(cfg)
    experiment = last_value(typed, "experiment")
    if not isinstance(experiment, str) or not GlobalHydra.instance().is_initialized():
        return cfg
    options = [o for o in read(typed) if isinstance(o.value(), str)]
    places = {(o.package or o.key_or_group).replace("/", ".") for o in options}
    left = [key for place in places for key in _not_taken(cfg, place)]
    keys = [o.key_or_group for o in read(typed)]
    left = [key for key in left if not any(f"{k}.".startswith(f"{key}.") for k in keys)]
    if not left:
        return cfg
    of_experiment = compose("train", [f"experiment={experiment}"])
    kept = copy.deepcopy(cfg)
    OmegaConf.set_struct(kept, False)
    for key in left:
        parent, _, leaf = key.rpartition(".")
        if leaf in _plain(of_experiment, parent):
            OmegaConf.select(kept, parent).pop(leaf, None)
    return kept


def _typed(cfg: DictConfig) -> list[str]:
    """The overrides, with interpolations as they were written."""
    overrides = OmegaConf.select(cfg, "run_overrides")
    if overrides is None:
        return []
    typed: Any = OmegaConf.to_container(overrides, resolve=False)
    return [str(override) for override in typed]


def _not_taken(cfg: DictConfig, place: str) -> list[str]:
    """Keys at a place, or below it, that the class in the same node does not take."""
    node = _plain(cfg, place)
    target = node.get("_target_")
    taken = signature(find(place, target)) if isinstance(target, str) else None
    found = []
    for key in node:
        path = f"{place}.{key}"
        if not taken or key in {*HYDRA_KEYS, *taken.hints} or taken.takes_all:
            found += _not_taken(cfg, path)
        else:
            found.append(path)
    return found


def _plain(cfg: DictConfig, place: str) -> Mapping[str, Any]:
    """A node as it stands, unresolved; empty if there is none, or if it is a value."""
    node: Any = OmegaConf.to_container(cfg)
    for part in place.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else {}
