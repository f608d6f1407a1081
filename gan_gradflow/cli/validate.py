"""Checking a configuration against the classes it names, before anything is built.

A node with `_target_` may hold what that class's constructor takes, of the types it is
annotated with; a node without may hold what the packaged configuration holds.
"""

import inspect
from collections.abc import Mapping
from typing import Any, get_type_hints

from beartype import BeartypeConf
from beartype.door import is_bearable
from beartype.roar import BeartypeException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from gan_gradflow.cli.errors import ConfigError, nearest

_HYDRA_KEYS = {"_target_", "_partial_", "_convert_", "_recursive_", "_args_"}
_CONF = BeartypeConf(is_pep484_tower=True)


def validate(cfg: DictConfig, top_level: Mapping[str, Any]) -> dict[str, Any]:
    """The resolved configuration as plain data.

    Args:
        cfg: the composed configuration.
        top_level: the keys that the command knows, with their types; `object` for nodes
            that are checked by their `_target_`.

    Raises:
        ConfigError: an unknown or missing key, a value of a wrong type, or a `_target_`
            that cannot be found, naming the key, the value and the way out.
    """
    plain: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    _check_keys("", plain, top_level)
    _check_targets("", plain)
    return plain


def _check_keys(path: str, node: dict[str, Any], known: Mapping[str, Any]) -> None:
    for key, value in node.items():
        if key not in known:
            raise ConfigError(f"there is no key {path}{key}; {nearest(key, known)}")
        if isinstance(known[key], Mapping) and isinstance(value, dict):
            _check_keys(f"{path}{key}.", value, known[key])
        else:
            _check_type(f"{path}{key}", value, known[key])
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
    target = _find(path, node["_target_"])
    signature = inspect.signature(target)
    hints = _hints(target)
    parameters = {
        name: parameter
        for name, parameter in signature.parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    for key, value in node.items():
        if key in _HYDRA_KEYS:
            continue
        if key not in parameters:
            raise ConfigError(
                f"there is no key {path}.{key}: {target.__name__} does not take it; "
                f"{nearest(key, parameters)}"
            )
        _check_type(f"{path}.{key}", value, hints.get(key, object))
    given = node.keys()
    for name, parameter in parameters.items():
        needed = parameter.default is parameter.empty and not node.get("_partial_")
        if needed and name not in given:
            raise ConfigError(f"{path}.{name} is missing; add {path}.{name}=VALUE")


def _find(path: str, target: str) -> Any:
    try:
        found = get_object(target)
    except Exception as error:
        raise ConfigError(f"{path}._target_: cannot find {target}: {error}") from error
    if not callable(found):
        raise ConfigError(f"{path}._target_: {target} is not a class or a function")
    return found


def _hints(target: Any) -> dict[str, Any]:
    try:
        return get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError):  # annotations that only a type checker can read
        return {}


def _check_type(path: str, value: Any, hint: Any) -> None:
    if isinstance(value, dict) or hint in (object, Any, inspect.Parameter.empty):
        return
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return
    wants_bool = hint is bool or "bool" in str(hint)
    forms = [value, tuple(value)] if isinstance(value, list) else [value]
    try:
        fits = any(is_bearable(form, hint, conf=_CONF) for form in forms)
    except BeartypeException:  # a hint that cannot be checked at run time
        return
    if not fits or (isinstance(value, bool) and not wants_bool):
        name = getattr(hint, "__name__", None) if inspect.isclass(hint) else str(hint)
        raise ConfigError(
            f"{path} is {value!r}, and it must be {str(name).replace('typing.', '')}"
        )
