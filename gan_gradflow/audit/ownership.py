"""Does every optimizer hold the parameters of one player, all of them, once?"""

from collections import Counter
from collections.abc import Iterator, Sequence

from torch.optim import Optimizer

from gan_gradflow.audit.findings import Finding, finding
from gan_gradflow.audit.players import PLAYERS, Players, other, owner
from gan_gradflow.audit.records import Round


def held(optimizer: Optimizer, players: Players) -> tuple[list[str], int]:
    """The names of the players' parameters in an optimizer, and how many others."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    names = [players.names.get(id(parameter)) for parameter in parameters]
    return [name for name in names if name is not None], names.count(None)


def check_ownership(
    rounds: Sequence[Round], players: Players, optimizers: Sequence[Optimizer]
) -> Iterator[Finding]:
    """Findings on optimizers, those given and those that were seen to step."""
    everyone = Counter(n for o in optimizers for n in held(o, players)[0])
    duplicates = sorted(name for name, count in everyone.items() if count > 1)
    if duplicates:
        yield finding(
            "optimizer-duplicates-parameters",
            "setup",
            f"{len(duplicates)} parameters are held more than once",
            duplicates,
        )
    for player in PLAYERS:
        phases = [r.phase(player) for r in rounds]
        stepped = {id(o): o for phase in phases for o in phase.optimizers}
        yield from _mixed(player, list(stepped.values()), players)
        trainable = {name for phase in phases for name in phase.required}
        missed = sorted(trainable - everyone.keys())
        if optimizers and missed:
            yield from _missed(player, missed, optimizers, players, bool(stepped))


def _mixed(
    player: str, stepped: list[Optimizer], players: Players
) -> Iterator[Finding]:
    foreign = sorted(
        {n for o in stepped for n in held(o, players)[0] if owner(n) == other(player)}
    )
    own = any(owner(n) == player for o in stepped for n in held(o, players)[0])
    if not foreign:
        return
    what = "as well as its own" if own else "and none of its own"
    yield finding(
        "optimizer-holds-other-player",
        player,
        f"the optimizer of the {player}'s phase holds {len(foreign)} {other(player)} "
        f"parameters {what}",
        foreign,
    )


def _missed(
    player: str,
    missed: list[str],
    optimizers: Sequence[Optimizer],
    players: Players,
    stepped: bool,
) -> Iterator[Finding]:
    strangers = sum(held(optimizer, players)[1] for optimizer in optimizers)
    total = len(players.of(player))
    if strangers and len(missed) == total:
        yield finding(
            "optimizer-holds-strangers",
            player,
            f"no optimizer holds the {player}'s parameters, while {strangers} parameters "
            "of neither network are held",
            missed,
        )
    elif stepped or len(optimizers) > 1:
        yield finding(
            "optimizer-misses-parameters",
            player,
            f"no optimizer holds {len(missed)} of the {player}'s {total} trainable "
            "parameters",
            missed,
        )
