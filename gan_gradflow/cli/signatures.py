"""What the class behind a `_target_` may be given by name."""

import inspect
import logging
from typing import Any, NamedTuple, get_type_hints

from hydra.utils import get_object

from gan_gradflow.cli.errors import ConfigError
from gan_gradflow.cli.messages import plainly

logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)  # what it logs it raises

HYDRA_KEYS = {"_target_", "_partial_", "_convert_", "_recursive_", "_args_"}
_MODULE_CLASS = ("torch.nn.modules.module", "Module")
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def find(path: str, target: str) -> Any:
    """The class or function of a name.

    Raises:
        ConfigError: it cannot be found, or is neither; the message names the node, `path`.
    """
    try:
        found = get_object(target)
    except Exception as error:
        raise ConfigError(
            f"{path}._target_: cannot find {target}: {plainly(error)}; modules are looked "
            "for in the current folder and among those that are installed"
        ) from error
    if not callable(found):
        raise ConfigError(f"{path}._target_: {target} is not a class or a function")
    return found


class Signature(NamedTuple):
    """What may be given by name: with what types, what has to be, and whether all may."""

    hints: dict[str, Any]
    needed: list[str]
    takes_all: bool


def signature(target: Any) -> Signature:
    """Of a class that takes `**kwargs` also what the ones that it inherits from take."""
    makers = [target]
    if inspect.isclass(target):
        makers += [vars(c)["__init__"] for c in target.__mro__ if "__init__" in vars(c)]
        del makers[1]  # the class's own, again
    found = Signature({}, [], True)
    for maker in makers:
        parameters = inspect.signature(maker).parameters.values()
        own = {p.name: p for p in parameters if p.kind in _BY_NAME and p.name != "self"}
        known = _hints(maker)
        hints = {name: known.get(name, object) for name in own}
        needed = found.needed
        if maker is target:
            needed = [name for name, p in own.items() if p.default is p.empty]
        takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
        found = Signature(hints | found.hints, needed, takes_all)
        if not takes_all:
            break
    if _first_constructor(target) == _MODULE_CLASS:
        found = found._replace(takes_all=False)  # it has `**kwargs`, and takes none
    return found


def _first_constructor(target: Any) -> tuple[str, str] | None:
    """The class whose constructor is called; torch replaces the function on its own."""
    for cls in target.__mro__ if inspect.isclass(target) else ():
        if "__init__" in vars(cls):
            return cls.__module__, cls.__qualname__
    return None


def _hints(target: Any) -> dict[str, Any]:
    try:
        return get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError):  # annotations that only a type checker can read
        return {}
