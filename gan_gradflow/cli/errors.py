"""What goes wrong ends a command with one message and an exit code.

0 all is well; 1 a run failed after it had started; 2 the configuration is wrong and
nothing was run; 130, 143, 138 and 140 ended by Ctrl-C, SIGTERM, SIGUSR1 and SIGUSR2.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gan_gradflow.cli.messages import explained
from gan_gradflow.overrides import last_value, quoted


class ConfigError(ValueError):
    """Something that the user asked for cannot be: exit code 2, before any work."""


class RunError(RuntimeError):
    """A run ended early; the message says why and what is left: exit code `code`."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


_OPTIONS = (
    "--help",
    "--hydra-help",
    "--version",
    "--cfg",
    "--resolve",
    "--package",
    "--run",
    "--multirun",
    "--shell-completion",
    "--config-path",
    "--config-name",
    "--config-dir",
    "--experimental-rerun",
    "--info",
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
    sys.argv = [whole[0], *_overrides_last(arguments), *_hydras_folder(arguments)]
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


def _hydras_folder(arguments: list[str]) -> list[str]:
    """Let Hydra work in the run's folder where that is named, and make no other one."""
    folder = last_value(arguments, "run_dir")
    named = isinstance(folder, str) and folder
    taken = any(last_value(arguments, key) for key in ("resume", "hydra.run.dir"))
    if not named or taken or {"-m", "--multirun"} & set(arguments):
        return []
    return [f"hydra.run.dir={quoted(folder)}"]


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
        hydra = HydraConfig.get()
        typed: Any = OmegaConf.to_container(hydra.overrides.task)
        goes_on = command == "train" and last_value(typed, "resume") is not None
        if not goes_on:
            with contextlib.suppress(OSError):
                Path(hydra.runtime.output_dir).rmdir()
        print(f"gan-gradflow {command}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except RunError as error:
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            raise
        print(f"gan-gradflow {command}: {error}", file=sys.stderr)
        raise SystemExit(error.code) from None


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
