"""`gan-gradflow bridges`: a table of the bridges, read from their traits."""

from typing import TYPE_CHECKING, Any

from gan_gradflow.cli import CONFIG_DIR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gan_gradflow.bridges.base import Traits

_COLUMNS = (
    "bridge",
    "choose it when",
    "critic gives",
    "crosses to it",
    "comes back",
    "queries per sample",
    "unbiased for",
)


def app() -> None:
    """Print the table."""
    print(table())


def table() -> str:
    """The bridges of `configs/bridge` as a table in Markdown."""
    lines = [_row(_COLUMNS), _row(["---"] * len(_COLUMNS))]
    for name, traits in _traits():
        lines.append(
            _row(
                (
                    f"`{name}`",
                    traits.choose_when,
                    traits.access.value,
                    traits.crosses,
                    traits.returns,
                    traits.queries,
                    traits.unbiased_for,
                )
            )
        )
    return "\n".join(lines)


def names_of(promise: "Callable[[Traits], bool]") -> list[str]:
    """The bridges of `configs/bridge` whose traits keep a promise."""
    return [name for name, traits in _traits() if promise(traits)]


def _traits() -> "Iterator[tuple[str, Traits]]":
    from hydra.utils import get_class
    from omegaconf import OmegaConf

    for path in sorted((CONFIG_DIR / "bridge").glob("*.yaml")):
        config: Any = OmegaConf.load(path)
        bridge: Any = get_class(config["_target_"])
        yield path.stem, bridge.traits


def _row(cells: tuple[str, ...] | list[str]) -> str:
    return f"| {' | '.join(cells)} |"
