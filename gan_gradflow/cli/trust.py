"""What the configuration inside a checkpoint may name: known classes, and not anybody's."""

from collections.abc import Iterator
from typing import Any

from gan_gradflow.cli.errors import ConfigError

_OURS = ("gan_gradflow.", "torch.nn.", "torch.optim.")
_WORKERS = "gan_gradflow.workers"  # run what their configuration names
_KNOWN = ("gan_gradflow", "torch", "torchvision", "lightning", "hydra")


def refuse_untrusted(
    key: str, node: Any, trust: list[str], also: tuple[str, ...] = ()
) -> None:
    """Raise a ConfigError where a checkpoint's configuration names foreign code.

    A name counts by where what it leads to was defined, so that the imports of a trusted
    module are not trusted through it. Of this project and of torch only classes are.

    Args:
        key: what messages call the checkpoint.
        node: the configuration, or a part of it.
        trust: packages that the user trusts as a whole.
        also: prefixes of names whose classes are trusted beside this project's and
            torch's networks and optimizers.
    """
    packages = tuple(f"{package}." for package in trust)
    for target in _targets(key, node):
        if target.startswith(f"{_WORKERS}.") and _WORKERS not in trust:
            raise ConfigError(
                f"{key}: its channel runs somebody's program or function; if you trust "
                f"it, add trust=[{_WORKERS}]"
            )
        if _home(target, packages) or _home(target, (*_OURS, *also), of=type):
            continue
        raise ConfigError(
            f"{key}: its configuration asks for {target}; if you trust it, add "
            f"trust=[{target.split('.')[0]}]"
        )


def packages_of(config: dict[str, Any]) -> list[str]:
    """The packages that a configuration names and no checkpoint's is trusted with."""
    targets = list(_targets("config", config))
    named = {target.split(".")[0] for target in targets}.difference(_KNOWN)
    if any(target.startswith(f"{_WORKERS}.") for target in targets):
        named.add(_WORKERS)
    return sorted(named)


def _targets(key: str, node: Any) -> Iterator[str]:
    if isinstance(node, str) and "${" in node:
        raise ConfigError(f"{key}: its configuration is not resolved: {node[:100]!r}")
    if isinstance(node, dict) and "_target_" in node:
        target = str(node["_target_"])
        looked_up = target.startswith("hydra.utils.get_")  # it is the path that matters
        yield str(node.get("path")) if looked_up else target
    if isinstance(node, (dict, list)):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _targets(key, child)


def _home(target: str, allowed: tuple[str, ...], of: type = object) -> bool:
    """Whether a name is below one of the prefixes, and what it leads to as well."""
    from hydra.utils import get_object

    if not target.startswith(allowed):
        return False
    try:
        found: Any = get_object(target)
    except Exception:
        return False
    home = f"{getattr(found, '__module__', None)}."
    return home.startswith(allowed) and isinstance(found, of)
