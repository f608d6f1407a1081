"""The wording of errors: what an exception says about what was typed, and the way out."""

import contextlib
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import (
    HydraException,
    InstantiationException,
    OverrideParseException,
)
from omegaconf import OmegaConf

from gan_gradflow.cli import CONFIG_DIR
from gan_gradflow.cli.options import content_of, options_of, own_folder
from gan_gradflow.overrides import last_value, quoted, read


def other_kind(found: type, wanted: type) -> str:
    """What to say of a class that is not of the kind that belongs there."""
    return (
        f"{found.__name__} is no {wanted.__name__}; inherit from "
        f"{wanted.__module__}.{wanted.__name__}, or choose another class"
    )


def nearest(key: str, valid: Iterable[str]) -> str:
    """A hint at the valid key that is nearest, or at all of them."""
    valid = list(valid)
    near = get_close_matches(key, valid, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]}?"
    return f"valid keys are {', '.join(valid)}" if valid else "it takes no keys"


def root_cause(error: BaseException) -> str:
    """The message of the first exception in the chain, without Hydra's wrapping."""
    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip()
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"


def node_at_fault(error: BaseException) -> str:
    """The key of the node that could not be built, below the one that was to be."""
    where = re.findall(r"^full_key: (\S+)$", str(error), re.MULTILINE)
    return where[-1] if where and isinstance(error, InstantiationException) else ""


def explained(error: BaseException, command: str, arguments: list[str]) -> str:
    """What an exception says about the arguments of a command, and the way out."""
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        return f"{error.strerror or error}: {error.filename or 'a file or folder'}"
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override)
    text = str(error).strip()
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown:
        key = unknown.group(1)
        return _about_a_group(key, text, arguments) or (
            f"there is no key {key!r}; {_nearest_in_config(key, command, arguments)}"
        )
    if "Config group override must be a string" in text:
        return "; ".join(_wrong_options(arguments)) or plainly(error)
    twice = re.search(r"Multiple values for (\S+)\. To override", text)
    if twice:
        key = twice[1]
        return f"{key} has a value already; leave out the +, as in {key}=OPTION"
    option = re.search(r"Could not find '([^']+)/([^/']+)'", text)
    if option:
        group, name = option.groups()
        hint = nearest(name, options_of(group, arguments))
        return f"{group} has no option {name!r}; {hint}"
    return plainly(error)


def plainly(error: BaseException) -> str:
    """The lines of an exception's message that tell a user something."""
    told = [
        re.sub(r"\s+", " ", line).strip()
        for line in str(error).splitlines()
        if line.strip()
        and not re.search("HYDRA_FULL_ERROR|object_type=|hydra.cc", line)
    ]
    return "; ".join(told[:6]) or type(error).__name__


def _unreadable(argument: str) -> str:
    """What to say of an argument that is no override."""
    key, joined, value = argument.partition("=")
    if joined:
        return (
            f"the value of {key} cannot be read: {value}; put it into quotes that the "
            f"shell leaves, \"{key}='{value}'\""
        )
    key = "checkpoint" if argument.endswith(".ckpt") else "key"
    value = argument if key == "checkpoint" else "value"
    return f"{argument!r} says not what it is for; write {key}={value}"


def _wrong_options(arguments: list[str]) -> list[str]:
    """What to say of each argument that gives a group something but an option's name."""
    told = []
    for given in read(arguments):
        options = options_of(given.key_or_group, arguments)
        if options and not given.is_delete() and given.value() not in list(options):
            key, value = given.get_key_element(), given.get_value_string()
            said = f"{key} takes the name of an option, and {value} is none"
            told.append(f"{said}; valid are {', '.join(options)}")
    return told


def _about_a_group(key: str, text: str, arguments: list[str]) -> str | None:
    """What to say of a group that is there, but not for these choices; None of others."""
    if not options_of(key, arguments):
        return None
    placed = re.search(r"Did you mean to override (?:one of )?(.+)\?", text)
    if placed:
        option = last_value(arguments, key) or "OPTION"
        ways = [f"{place}={option}" for place in placed[1].split(", ")]
        return f"{key} is there for each player; give {' or '.join(ways)}, or both"
    group, _, part = key.rpartition("/")
    if not group:
        return None
    able = [
        f"{group}={option}"
        for option, file in options_of(group, arguments).items()
        if any(part in entry for entry in content_of(file).get("defaults") or [])
    ]
    if not able:
        return None
    return f"{key}: the chosen {group} has no {part}; choose {' or '.join(able)}"


def _nearest_in_config(key: str, command: str, arguments: list[str]) -> str:
    """The nearest key of the configuration as it is without the unknown one."""
    name = key.lstrip("+~").split("@")[0]
    groups = [
        str(given.input_line)
        for given in read(arguments)
        if given.value() in list(options_of(given.key_or_group, arguments))
    ]
    initialised = GlobalHydra.instance().is_initialized()  # inside an app
    own = None if initialised else own_folder(arguments)
    if own:
        groups.append(f"hydra.searchpath=[{quoted(f'file://{own}')}]")
    with (
        contextlib.nullcontext()
        if initialised
        else initialize_config_dir(str(CONFIG_DIR), version_base="1.3")
    ):
        try:
            composed = compose(command, groups)
        except HydraException:  # these options do not go together
            composed = compose(command)
        cfg: Any = OmegaConf.to_container(composed)
    keys = list(_dotted(cfg))
    parent, _, leaf = name.rpartition(".")
    beside = [k for k in keys if k.rpartition(".")[0] == parent]
    near = get_close_matches(leaf, [k.rpartition(".")[2] for k in beside], n=1)
    if near:
        return f"did you mean {parent}{'.' if parent else ''}{near[0]}?"
    elsewhere = [k for k in keys if k.rpartition(".")[2] == leaf]
    if elsewhere:
        return f"did you mean {elsewhere[0]}?"
    return f"valid keys are {', '.join(beside or cfg)}"


def _dotted(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
