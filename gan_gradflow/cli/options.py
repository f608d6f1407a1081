"""The options of a group of configurations: its YAML files, packaged and the user's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from gan_gradflow.cli import CONFIG_DIR


def options_of(group: str, arguments: Sequence[str] = ()) -> dict[str, Path]:
    """The file of each option by its name; of two with one name, the one that counts.

    Args:
        group: such as `bridge` or `bridge/directions`.
        arguments: of the command, whose Hydra app may have ended.
    """
    if GlobalHydra.instance().is_initialized():
        sources = GlobalHydra.instance().config_loader().get_sources()
        folders = [Path(s.path) for s in reversed(sources) if s.scheme() == "file"]
    else:
        own = own_folder(arguments)
        folders = [CONFIG_DIR, own] if own else [CONFIG_DIR]
    files = [path for folder in folders for path in (folder / group).glob("*.yaml")]
    return dict(sorted({path.stem: path for path in files}.items()))


def own_folder(arguments: Sequence[str]) -> Path | None:
    """The user's folder of configurations, if these arguments name one."""
    named = get_args_parser().parse_known_args(arguments)[0].config_dir
    return Path(named).absolute() if named else None


def content_of(file: Path) -> dict[str, Any]:
    """What stands in an option's file; nothing where that cannot be read."""
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(file))
    except Exception:  # a damaged file can fail in any way
        return {}
    return content if isinstance(content, dict) else {}
