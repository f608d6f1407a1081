"""The two networks under audit, and one name for each of their tensors."""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

DISCRIMINATOR = "discriminator"
GENERATOR = "generator"
PLAYERS = (DISCRIMINATOR, GENERATOR)


def other(player: str) -> str:
    """The opponent of `player`."""
    return GENERATOR if player == DISCRIMINATOR else DISCRIMINATOR


def owner(name: str) -> str:
    """Whose tensor this is: `"generator.0.weight"` belongs to the generator."""
    return name.partition(".")[0]


def group(name: str) -> str:
    """The module that holds a tensor: `"generator.0"` for `"generator.0.weight"`."""
    return name.rpartition(".")[0]


class Players:
    """Generator and discriminator, with every parameter under `"<player>.<path>"`.

    Parameters that both networks hold are listed in `shared` and nowhere else: no
    statement about "the other player's parameters" makes sense for them.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module) -> None:
        self.networks = {DISCRIMINATOR: discriminator, GENERATOR: generator}
        ids = {id(parameter) for parameter in generator.parameters()}
        self.shared = tuple(
            f"{DISCRIMINATOR}.{name}"
            for name, parameter in discriminator.named_parameters()
            if id(parameter) in ids
        )
        shared = {id(p) for p in discriminator.parameters()} & ids
        self.parameters = {
            f"{player}.{name}": parameter
            for player, network in self.networks.items()
            for name, parameter in network.named_parameters()
            if id(parameter) not in shared
        }
        self.names = {id(p): name for name, p in self.parameters.items()}

    def of(self, player: str) -> dict[str, nn.Parameter]:
        """The parameters of one player, by name."""
        return {n: p for n, p in self.parameters.items() if owner(n) == player}

    def buffers(self) -> dict[str, Tensor]:
        """The buffers of both players as they are now (modules may replace theirs)."""
        return {
            f"{player}.{name}": buffer
            for player, network in self.networks.items()
            for name, buffer in network.named_buffers()
        }

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Every module of both players, under the same names as the tensors."""
        for player, network in self.networks.items():
            for path, module in network.named_modules():
                yield f"{player}.{path}" if path else player, module

    def uninitialised(self) -> list[str]:
        """The parameters of lazy modules that no forward pass has shaped yet."""
        return [
            name
            for name, parameter in self.parameters.items()
            if isinstance(parameter, UninitializedParameter)
        ]
