"""What was expected and what was seen, row by row."""

from collections.abc import Mapping, Sequence

from torch.optim import Optimizer

from gan_gradflow.audit.catalogue import Severity
from gan_gradflow.audit.direction import Push
from gan_gradflow.audit.findings import Finding
from gan_gradflow.audit.first_order import Slope
from gan_gradflow.audit.health import Layer
from gan_gradflow.audit.ownership import held
from gan_gradflow.audit.players import (
    DISCRIMINATOR,
    GENERATOR,
    PLAYERS,
    Players,
    group,
    owner,
)
from gan_gradflow.audit.records import PhaseRecord, Round, norm
from gan_gradflow.audit.report import DIRECTION, HEALTH, PHASES, Table


def gradient_table(
    rounds: Sequence[Round], players: Players, findings: Sequence[Finding]
) -> Table:
    """Per phase and parameter group: the gradient expected, and the one that came."""
    rows = []
    for record in rounds[-1]:
        for layer in dict.fromkeys(group(name) for name in players.parameters):
            names = [name for name in players.parameters if group(name) == layer]
            arrived = {n: record.received[n] for n in names if n in record.received}
            left = any(name in record.leftovers for name in names)
            rows.append(
                (
                    record.phase,
                    layer,
                    "gradient" if owner(layer) == record.phase else "none",
                    norm(arrived) if arrived else "none",
                    _leftover(record, names, left),
                    _codes(findings, record.phase, {layer, *names}),
                )
            )
    columns = ("phase", "group", "expected", "seen (norm)", "leftover", "finding")
    return Table("Gradients", columns, tuple(rows), PHASES)


def _leftover(record: PhaseRecord, names: list[str], left: bool) -> str:
    if any(name in record.contaminated for name in names):
        return "used"
    return "present" if left else "none"


def buffer_table(
    rounds: Sequence[Round], players: Players, findings: Sequence[Finding]
) -> Table:
    """Per phase and module: whether its buffers may change, and whether they did."""
    rows = []
    for player in PLAYERS:
        changed = {name for r in rounds for name in r.phase(player).buffers}
        for layer in dict.fromkeys(group(name) for name in players.buffers()):
            names = [name for name in players.buffers() if group(name) == layer]
            count = sum(name in changed for name in names)
            rows.append(
                (
                    player,
                    layer,
                    "may change" if owner(layer) == player else "unchanged",
                    f"{count} of {len(names)} changed" if count else "unchanged",
                    _codes(findings, player, {layer, *names}),
                )
            )
    columns = ("phase", "module", "expected", "seen", "finding")
    return Table("Buffers", columns, tuple(rows), PHASES)


def optimizer_table(
    rounds: Sequence[Round],
    players: Players,
    optimizers: Sequence[Optimizer],
    findings: Sequence[Finding],
) -> Table:
    """Per optimizer: in which phases it stepped, and whose parameters it holds."""
    rows = []
    for index, optimizer in enumerate(optimizers):
        names, strangers = held(optimizer, players)
        phases = [
            player
            for player in PLAYERS
            if any(optimizer is o for r in rounds for o in r.phase(player).optimizers)
        ]
        counts = {
            player: f"{sum(owner(n) == player for n in names)} of "
            f"{len(players.of(player))}"
            for player in PLAYERS
        }
        codes = {
            f.code
            for f in findings
            if f.code.startswith("optimizer-") and f.phase in (*phases, "setup")
        }
        rows.append(
            (
                f"{index} {type(optimizer).__name__}",
                " and ".join(phases) or "never",
                counts[DISCRIMINATOR],
                counts[GENERATOR],
                strangers,
                ", ".join(sorted(codes)),
            )
        )
    columns = (
        "optimizer",
        "steps in",
        DISCRIMINATOR,
        GENERATOR,
        "others",
        "finding",
    )
    return Table("Optimizers: parameters held", columns, tuple(rows), PHASES)


def direction_table(
    slopes: Sequence[Slope],
    pushes: Mapping[str, Push],
    findings: Sequence[Finding],
) -> Table:
    """Per player: the loss along its update, and where it pushes neutral scores."""
    codes = (
        "wrong-sign",
        "discriminator-blind",
        "update-raises",
        "first-order",
        "loss-",
    )
    by_player = {slope.player: slope for slope in slopes}
    rows = []
    for player in PLAYERS:
        slope, push = by_player.get(player), pushes.get(player)
        rows.append(
            (
                player,
                slope.loss if slope else None,
                slope.predicted if slope else None,
                slope.measured if slope else None,
                slope.ratio if slope else None,
                _source(slope),
                push.reals if push else None,
                push.fakes if push else None,
                ", ".join(
                    f.code
                    for f in findings
                    if f.phase == player and f.code.startswith(codes)
                ),
            )
        )
    columns = (
        "player",
        "loss",
        "predicted change",
        "measured",
        "ratio",
        "gradient",
        "push on reals",
        "push on fakes",
        "finding",
    )
    return Table("Direction", columns, tuple(rows), DIRECTION)


def _source(slope: Slope | None) -> str | None:
    """Where a gradient comes from: that from scores predicts more than a step does."""
    if slope is None:
        return None
    return "from scores" if slope.estimated else "from autograd"


def health_table(layers: Sequence[Layer], findings: Sequence[Finding]) -> Table:
    """Per parameter group: norms, relative update, and errors of its gradient."""
    rows = tuple(
        (
            layer.name,
            layer.weights,
            layer.gradient,
            layer.update / layer.weights if layer.update and layer.weights else None,
            layer.error,
            layer.bf16_error,
            _codes(findings, owner(layer.name), {layer.name}, health=True),
        )
        for layer in layers
    )
    columns = (
        "group",
        "weights",
        "gradient used",
        "update / weights",
        "error against float64",
        "in bf16",
        "finding",
    )
    return Table("Health", columns, rows, HEALTH)


_HEALTH = (
    "vanishing-gradients",
    "exploding-gradients",
    "dead-units",
    "precision-loss",
)


def _codes(
    findings: Sequence[Finding], phase: str, names: set[str], health: bool = False
) -> str:
    """The codes of violations and warnings that concern one of these names."""
    concerned = [
        f.code
        for f in findings
        if f.severity is not Severity.NOTE
        and f.phase == phase
        and (f.code in _HEALTH) == health
        and any(name in names or group(name) in names for name in f.names)
    ]
    return ", ".join(dict.fromkeys(concerned))
