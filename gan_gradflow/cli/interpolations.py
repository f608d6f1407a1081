"""What to say when one part of the configuration needs a key that another part lacks."""

import re
from collections.abc import Mapping
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gan_gradflow.cli.messages import nearest, plainly
from gan_gradflow.cli.options import content_of, options_of


def why_unresolved(cfg: DictConfig, error: OmegaConfBaseException) -> str:
    """The message for a configuration that cannot be resolved.

    Where a key is missing, it tells which choice needs it, which choice lacks it, and
    which options of the same group have it.

    Args:
        cfg: the configuration.
        error: what resolving it raised.
    """
    missing = re.search(
        r"Interpolation key '(\w[^']*)' not found|trying to access (\w[^:]*): node `",
        str(error),
    )
    if missing is None or not error.full_key:
        return plainly(error)
    key = missing[1] or missing[2]
    needing, _, needed_as = error.full_key.partition(".")
    group, _, leaf = key.partition(".")
    if not leaf or not isinstance(OmegaConf.select(cfg, group), DictConfig):
        return f"{error.full_key} needs {key}, and there is none; {nearest(key, cfg)}"
    if needing == group and "." in needed_as:
        part, absent = f"{group}.{needed_as.split('.')[0]}", key.rpartition(".")[0]
        return (
            f"{error.full_key} needs {key}, and there is no {absent}; leave out {part}, "
            f"too, with {part}=null"
        )
    able, choices = _options_with(group, leaf), _choices()
    needs, lacks = error.full_key, group
    if choices.get(needing) in _options_with(needing, needed_as):
        needs += f" of {needing}={choices[needing]}"
    if choices.get(group) and choices[group] not in able:
        lacks = f"{group}={choices[group]}"
    able = [option for option in able if option != choices.get(group)]
    found = " or ".join(f"{group}={option}" for option in able)
    way = f"choose {found}, or another {needing}" if able else nearest(leaf, cfg[group])
    return f"{needs} needs {key}, and {lacks} has no {leaf}; {way}"


def _choices() -> Mapping[str, Any]:
    """The chosen option of each group, as far as the command that runs has the group."""
    return HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}


def _options_with(group: str, key: str) -> list[str]:
    """The options of a group whose files hold a key."""
    options = options_of(group).items()
    return [option for option, file in options if _holds(content_of(file), key)]


def _holds(node: Any, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return True
