"""Checking a configuration against the classes it names, before anything is built.

A node with `_target_` may hold what that class's constructor takes, of the types it is
annotated with; a node without may hold what the packaged configuration holds.
"""

import inspect
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from beartype.door import is_bearable
from beartype.roar import BeartypeException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from gan_gradflow.cli.errors import ConfigError
from gan_gradflow.cli.interpolations import why_unresolved
from gan_gradflow.cli.leftovers import without_leftovers
from gan_gradflow.cli.messages import nearest, other_kind
from gan_gradflow.cli.signatures import HYDRA_KEYS, find, signature


def validate(cfg: DictConfig, top_level: Mapping[str, Any]) -> dict[str, Any]:
    """The resolved configuration as plain data.

    Args:
        cfg: the composed configuration.
        top_level: the keys that the command knows, with their types; `object` for nodes
            that are checked by their `_target_`.

    Raises:
        ConfigError: an unknown or missing key, one that refers to a missing one, a value
            of a wrong type, or a `_target_` that cannot be found, naming the key, the
            value and the way out.
    """
    try:
        plain: Any = OmegaConf.to_container(
            without_leftovers(cfg), resolve=True, throw_on_missing=True
        )
    except MissingMandatoryValue as error:
        raise ConfigError(
            f"{error.full_key} is missing; add {error.full_key}=VALUE"
        ) from error
    except OmegaConfBaseException as error:
        raise ConfigError(why_unresolved(cfg, error)) from error
    _check_keys("", plain, top_level)
    if plain.get("run_name") == "":
        raise ConfigError(
            "run_name is empty; give the run a name, or leave run_name out"
        )
    if not 0 <= (plain.get("seed") or 0) < 2**32:
        raise ConfigError(
            f"seed is {plain['seed']}, and it must be in [0, 2^32); try 1"
        )
    _check_targets("", plain)
    return plain


def require_classes(config: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Raise a ConfigError where one of these nodes names no class."""
    for key in keys:
        group, _, player = key.partition(".")
        node = config[group][player] if player else config[group]
        if not isinstance(node, dict) or "_target_" not in node:
            way = f"{group}@{key}=OPTION" if player else f"{key}=OPTION"
            raise ConfigError(f"{key} is {node!r}, no class; choose one with {way}")


def _check_keys(path: str, node: dict[str, Any], known: Mapping[str, Any]) -> None:
    for key, value in node.items():
        if key not in known:
            raise ConfigError(f"there is no key {path}{key}; {nearest(key, known)}")
        if isinstance(known[key], Mapping):
            if not isinstance(value, dict):
                ways = " or ".join(f"{path}{key}.{part}={value}" for part in known[key])
                raise ConfigError(
                    f"{path}{key} is {value!r}, and has parts; give {ways}"
                )
            _check_keys(f"{path}{key}.", value, known[key])
        else:
            node[key] = _typed(f"{path}{key}", value, known[key])
    for key in known:
        if key not in node:
            raise ConfigError(f"{path}{key} is missing; add {path}{key}=VALUE")


def _check_targets(path: str, node: Any) -> None:
    if isinstance(node, list):
        for index, item in enumerate(node):
            _check_targets(f"{path}.{index}", item)
    if not isinstance(node, dict):
        return
    if "_target_" in node:
        _check_signature(path, node)
    for key, value in node.items():
        _check_targets(f"{path}.{key}" if path else str(key), value)


def _check_signature(path: str, node: dict[str, Any]) -> None:
    target = find(path, node["_target_"])
    hints, needed, takes_all = signature(target)
    for key, value in node.items():
        if key in HYDRA_KEYS:
            continue
        if key not in hints and not takes_all:
            raise ConfigError(
                f"there is no key {path}.{key}: {target.__name__} does not take it; "
                f"{nearest(key, hints)}; if a YAML sets it, add '~{path}.{key}' to the "
                "command to leave it out"
            )
        node[key] = _typed(f"{path}.{key}", value, hints.get(key, object))
    for name in [] if node.get("_partial_") else needed:
        if name not in node:
            raise ConfigError(f"{path}.{name} is missing; add {path}.{name}=VALUE")


def _typed(path: str, value: Any, hint: Any) -> Any:
    """The value, an integer made a float where one is asked for."""
    if hint in (object, Any, inspect.Parameter.empty):
        return value
    if isinstance(value, dict) and "_target_" in value:
        _check_kind(path, value, hint)
        return value
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return value
    forms = [value, _floats(value)]
    if isinstance(value, list):
        forms += [tuple(form) for form in forms]
    forms = [form for form in forms if _fits(form, hint)]
    if not forms or (isinstance(value, bool) and "bool" not in str(hint)):
        said = f"{path} is {value!r}, and it must be {_kind(hint)}"
        raise ConfigError(f"{said}{_way_out(path, value, hint)}")
    return list(forms[0]) if isinstance(value, list) else forms[0]


def _way_out(path: str, value: Any, hint: Any) -> str:
    """The value as it may have been meant."""
    if isinstance(value, bool):
        return ""
    if isinstance(value, float) and value.is_integer() and _fits(int(value), hint):
        return f"; write {path}={int(value)}"
    if _fits([value], hint):
        return f"; write {path}=[{value}]"
    if isinstance(value, (int, float)) and _fits(str(value), hint):
        return f"; write \"{path}='{value}'\""
    return ""


def _check_kind(path: str, node: dict[str, Any], hint: Any) -> None:
    """A part is of the class that the one around it asks for."""
    target = find(path, node["_target_"])
    plain = inspect.isclass(hint) and not getattr(hint, "_is_protocol", False)
    if plain and inspect.isclass(target) and not node.get("_partial_"):
        try:
            fits = issubclass(target, hint)
        except TypeError:  # a generic type
            return
        if not fits:
            raise ConfigError(f"{path}._target_: {other_kind(target, hint)}")


def _kind(hint: Any) -> str:
    """A type in words, without the tensors that nobody can type."""
    name = hint.__name__ if inspect.isclass(hint) else str(hint)
    typed = re.sub(
        r" \| torch\.Tensor\b|\btorch\.Tensor \| |, torch\.Tensor\b", "", name
    )
    return re.sub(r"^typing\.Union\[(\w+)\]$", r"\1", typed).replace("typing.", "")[
        :200
    ]


def _floats(value: Any) -> Any:
    """An integer, or the integers of a list, as floats; anything else as it is."""
    if isinstance(value, list):
        return [_floats(item) for item in value]
    whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if whole else value


def _fits(value: Any, hint: Any) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old-fashioned hints elsewhere
            return is_bearable(value, hint)
    except BeartypeException:  # a hint that cannot be checked at run time
        return True
