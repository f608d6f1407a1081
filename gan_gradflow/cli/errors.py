"""Turning what went wrong into one clear message and an exit code.

0 all is well; 1 a run failed after it had started; 2 the configuration is wrong and
nothing was run; 130, 143, 138 and 140 ended by Ctrl-C, SIGTERM, SIGUSR1 and SIGUSR2.
"""

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import (
    HydraException,
    InstantiationException,
    OverrideParseException,
)
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException


class ConfigError(ValueError):
    """Something that the user asked for cannot be: exit code 2, before any work."""


class RunError(RuntimeError):
    """A run ended early; the message says why and what is left: exit code `code`."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


_OPTIONS = (
    *(
        "--help",
        "--hydra-help",
        "--version",
        "--cfg",
        "--resolve",
        "--package",
        "--run",
    ),
    *("--multirun", "--shell-completion", "--config-path", "--config-name"),
    *("--config-dir", "--experimental-rerun", "--info"),
)


def run_and_explain(command: str, app: Callable[[], None], arguments: list[str]) -> int:
    """Run a Hydra app on `arguments`; its exit code, after explaining any failure."""
    for argument in arguments:
        name, joined, value = argument.partition("=")
        if name.startswith("--") and name not in _OPTIONS:
            way = f"{name.lstrip('-')}={value if joined else 'VALUE'}"
            said = f"there is no option {name}; keys are given without dashes, {way}"
            print(f"gan-gradflow {command}: {said}", file=sys.stderr)
            return 2
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise to us instead of printing
    whole = sys.argv
    sys.argv = [whole[0], *_overrides_last(arguments)]
    try:
        app()
    except RunError as error:
        print(f"gan-gradflow {command}: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        expected = (ConfigError, HydraException, OmegaConfBaseException, OSError)
        if not isinstance(error, expected) and not _before_the_command(error):
            raise
        message = explained(error, command, arguments)
        print(f"gan-gradflow {command}: {message}", file=sys.stderr)
        return 2
    finally:
        sys.argv = whole
    return 0


def _overrides_last(arguments: list[str]) -> list[str]:
    """Hydra reads overrides on one side of its options only; people write both."""
    takes_value = (
        "--config-dir",
        "-cd",
        "--config-name",
        "-cn",
        "--config-path",
        "-cp",
    )
    options, overrides = [], []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        override = "=" in argument or argument[:1] in ("~", "+")
        if override and argument[:1] != "-" and before not in takes_value:
            overrides.append(argument)
        else:
            options.append(argument)
    return options + overrides


@contextlib.contextmanager
def checking(command: str, run_dir: str) -> Iterator[None]:
    """Leave with one message: with exit code 2 and no empty folder on a ConfigError.

    It leaves by SystemExit because Hydra prints a paragraph of its own about anything
    else, and because a sweep is not to go on with a configuration that cannot be. It
    does go on after a run that ended early.
    """
    try:
        if not run_dir:
            raise ConfigError("run_dir is empty; name a folder, or leave run_dir out")
        yield
    except ConfigError as error:
        # Hydra has made its own folder, but not that of a run that is to go on.
        hydra, own = HydraConfig.get(), Path(run_dir).absolute()
        typed: Any = OmegaConf.to_container(hydra.overrides.task)
        resumes = any(str(override).startswith("resume=") for override in typed)
        goes_on = command == "train" and resumes
        if not goes_on and own == Path(hydra.runtime.output_dir).absolute():
            with contextlib.suppress(OSError):
                own.rmdir()
        print(f"gan-gradflow {command}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except RunError as error:
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            raise
        print(f"gan-gradflow {command}: {error}", file=sys.stderr)
        raise SystemExit(error.code) from None


def other_kind(place: str, found: type, wanted: type) -> ConfigError:
    """What to say of a class that is not of the kind that belongs there."""
    return ConfigError(
        f"{place}: {found.__name__} is no {wanted.__name__}; inherit from "
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


def _before_the_command(error: BaseException) -> bool:
    """Whether an exception comes from composing the configuration, not from our code."""
    frames = [
        frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    composing = [f"{os.sep}hydra{os.sep}" in f for f in frames]
    if True not in composing:
        return False
    inside = frames[composing.index(True) :]
    return not any(f"{os.sep}gan_gradflow{os.sep}" in f for f in inside)


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
        return f"{group} has no option {name!r}; {nearest(name, _options(group))}"
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
    for argument in arguments:
        key, joined, value = argument.partition("=")
        options = _options(key.split("@")[0]) if joined else []
        if options and value not in options:
            valid = ", ".join(options)
            said = f"{key} takes the name of an option, and {value} is none"
            told.append(f"{said}; valid are {valid}")
    return told


def _about_a_group(key: str, text: str, arguments: list[str]) -> str | None:
    """What to say of a group that is there, but not for these choices; None of others."""
    from gan_gradflow.cli import CONFIG_DIR

    if not (CONFIG_DIR / key).is_dir():
        return None
    values = [a.partition("=")[2] for a in arguments if a.partition("=")[0] == key]
    placed = re.search(r"Did you mean to override (?:one of )?(.+)\?", text)
    if placed:
        option = values[-1] if values else "OPTION"
        ways = [f"{place}={option}" for place in placed[1].split(", ")]
        return f"{key} is there for each player; give {' or '.join(ways)}, or both"
    group, _, part = key.rpartition("/")
    if not group:
        return None
    able = [
        f"{group}={path.stem}"
        for path in sorted((CONFIG_DIR / group).glob("*.yaml"))
        if any(part in entry for entry in _plain(path).get("defaults", []))
    ]
    if not able:
        return None
    return f"{key}: the chosen {group} has no {part}; choose {' or '.join(able)}"


def _nearest_in_config(key: str, command: str, arguments: list[str]) -> str:
    """The nearest key of the configuration as it is without the unknown one."""
    from gan_gradflow.cli import CONFIG_DIR

    name = key.lstrip("+~").split("@")[0]
    groups = [a for a in arguments if "=" in a and _is_group(a)]
    initialised = GlobalHydra.instance().is_initialized()  # inside an app
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


def _plain(path: Path) -> Any:
    return OmegaConf.to_container(OmegaConf.load(path))


def _options(group: str) -> list[str]:
    from gan_gradflow.cli import CONFIG_DIR

    return sorted(path.stem for path in (CONFIG_DIR / group).glob("*.yaml"))


def _is_group(argument: str) -> bool:
    from gan_gradflow.cli import CONFIG_DIR

    key, _, option = argument.partition("=")
    return (Path(CONFIG_DIR) / key.split("@")[0] / f"{option}.yaml").is_file()


def _dotted(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
