"""`gan-gradflow bridges`: a table of the bridges, read from their traits."""

from typing import Any

from gan_gradflow.cli import CONFIG_DIR

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
    from hydra.utils import get_class
    from omegaconf import OmegaConf

    lines = [_row(_COLUMNS), _row(["---"] * len(_COLUMNS))]
    for path in sorted((CONFIG_DIR / "bridge").glob("*.yaml")):
        config: Any = OmegaConf.load(path)
        bridge: Any = get_class(config["_target_"])
        traits = bridge.traits
        lines.append(
            _row(
                (
                    f"`{path.stem}`",
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


def _row(cells: tuple[str, ...] | list[str]) -> str:
    return f"| {' | '.join(cells)} |"
