"""Is the gradient in good shape: neither vanishing nor exploding, nor lost to rounding?

Layers are compared by the root mean square of the gradients of their weight matrices
(biases and scales vanish for good reasons). Scores are saturated if the loss is a
thousand times flatter where they are than at a neutral score.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from gan_gradflow.audit.direction import Push
from gan_gradflow.audit.findings import Finding, finding
from gan_gradflow.audit.players import GENERATOR, PLAYERS, Players, group, owner
from gan_gradflow.audit.precision import LayerErrors, measure_precision
from gan_gradflow.audit.records import PhaseRecord, Round, norm

_VANISHING = 1e-4  # of the largest layer's root mean square
_EXPLODING = 1e3  # times the weights' norm
_SATURATED = 1e-3  # of the slope at a neutral score
_DEAD = 0.5  # of a layer's units
_IMPRECISE = 1e-2
_BF16_LOSES = 0.5


@dataclass(frozen=True)
class Layer:
    """One parameter group's figures in its own phase; None where there is none."""

    name: str
    weights: float
    gradient: float | None
    update: float | None
    error: float | None
    bf16_error: float | None


def measure_layers(baseline: Round, players: Players) -> list[Layer]:
    """Norms, update sizes and precision of every parameter group of both players."""
    layers = []
    for player in PLAYERS:
        record = baseline.phase(player)
        errors = _precision(record, players)
        for name in dict.fromkeys(group(n) for n in players.of(player)):
            error = errors.get(name.partition(".")[2])
            layers.append(
                Layer(
                    name=name,
                    weights=norm(_within(record.weights, name)),
                    gradient=_norm_or_none(_within(record.used, name)),
                    update=_norm_or_none(_within(record.update, name)),
                    error=error.own if error else None,
                    bf16_error=error.bf16 if error else None,
                )
            )
    return layers


def _within(vector: Mapping[str, Tensor], layer: str) -> dict[str, Tensor]:
    return {name: value for name, value in vector.items() if group(name) == layer}


def _norm_or_none(vector: dict[str, Tensor]) -> float | None:
    return norm(vector) if vector else None


def _precision(record: PhaseRecord, players: Players) -> dict[str, LayerErrors]:
    for call in record.of(record.phase):
        if call.slopes is not None or call.pull is not None:
            return measure_precision(players.networks[record.phase], call)
    return {}


def check_health(
    baseline: Round,
    layers: list[Layer],
    neutral: Mapping[str, Push],
    actual: Mapping[str, Push],
) -> Iterator[Finding]:
    """Findings on layers, scores, units and precision."""
    for record in baseline:
        yield from _gradient_sizes(record)
        yield from _dead_units(record)
    if GENERATOR in neutral and GENERATOR in actual:
        flat = actual[GENERATOR].size, neutral[GENERATOR].size
        if flat[0] < _SATURATED * flat[1]:
            yield finding(
                "saturated-scores",
                GENERATOR,
                f"the slope at the fakes' scores is {flat[0]:.1e}, at a neutral score "
                f"{flat[1]:.1e}",
            )
    yield from _imprecise(layers)


def _gradient_sizes(record: PhaseRecord) -> Iterator[Finding]:
    sizes = {
        name: float(gradient.double().square().mean().sqrt())
        for name, gradient in record.used.items()
        if owner(name) == record.phase and gradient.dim() > 1
    }
    largest = max(sizes.values(), default=0.0)
    small = [name for name, size in sizes.items() if size < _VANISHING * largest]
    if small:
        smallest = min(sizes.values())
        yield finding(
            "vanishing-gradients",
            record.phase,
            f"the smallest layer's gradient is {smallest / largest:.0e} of the largest",
            small,
        )
    large = [
        name
        for name, gradient in record.used.items()
        if name in sizes
        and float(gradient.norm()) > _EXPLODING * float(record.weights[name].norm()) > 0
    ]
    if large:
        yield finding(
            "exploding-gradients",
            record.phase,
            f"{len(large)} gradients are over {_EXPLODING:.0f} times their weights",
            large,
        )


def _dead_units(record: PhaseRecord) -> Iterator[Finding]:
    dead = {
        name: int((~active).sum())
        for name, active in record.active.items()
        if owner(name) == record.phase and float((~active).float().mean()) > _DEAD
    }
    if dead:
        worst = max(dead, key=lambda name: dead[name])
        yield finding(
            "dead-units",
            record.phase,
            f"{dead[worst]} of {len(record.active[worst])} units after {worst} never fire",
            dead,
        )


def _imprecise(layers: list[Layer]) -> Iterator[Finding]:
    for player in PLAYERS:
        own = [layer for layer in layers if owner(layer.name) == player]
        errors = {x.name: x.error for x in own if x.error is not None}
        in_bf16 = {x.name: x.bf16_error for x in own if x.bf16_error is not None}
        bad = [name for name, error in errors.items() if error > _IMPRECISE]
        if bad:
            yield finding(
                "precision-loss",
                player,
                f"gradients differ from float64 by up to {max(errors.values()):.1%}",
                bad,
            )
        lost = [name for name, error in in_bf16.items() if error > _BF16_LOSES]
        if lost:
            yield finding(
                "bf16-loses-gradient",
                player,
                f"in bf16, gradients would be off by up to {max(in_bf16.values()):.0%}",
                lost,
            )
