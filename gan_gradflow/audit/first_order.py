"""Does the loss change as the gradient predicts, and does the update lower it?

For a player's loss L, received gradient g and update u, the central difference

    [L(theta + t u) - L(theta - t u)] / (2 t)

is compared with the first-order prediction <g, u>. The ratio is one if the gradient is
that of the loss; parts of the loss that are cut off from the parameters, or edited
behind autograd's back, show as another ratio. t is chosen so that the predicted change
is 0.02 % of the loss, and the parameters move by 1 % at most.

The slope of a network of rectifiers jumps where a unit starts to fire, and a penalty on
the slope jumps with it. Such jumps are rare in a short step and even out in a long one,
while a wrong gradient is wrong at every step; so a ratio far from one is measured again
with other steps, and the best one counts.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from gan_gradflow.audit.findings import Finding, finding
from gan_gradflow.audit.laboratory import Laboratory
from gan_gradflow.audit.players import PLAYERS, owner
from gan_gradflow.audit.records import (
    PhaseRecord,
    Round,
    asks_for_scores_only,
    inner,
    norm,
)

_RELATIVE_CHANGE = 2e-4
_OTHER_STEPS = (0.2, 0.05, 10.0)  # times the first
_LARGEST_SHIFT = 1e-2
_SMALLEST_CHANGE = 1e-5  # of the loss; below, float32 rounding wins
_TOLERANCE = 0.5  # of the ratio


@dataclass(frozen=True)
class Slope:
    """One player's loss along its update; None where it could not be measured.

    `estimated` says that no gradient passed the discriminator: it was only asked for
    scores, and the ratio then shows the quality of the estimate, not a mistake: its
    noise is in gradient and update alike, and adds to the prediction alone.
    """

    player: str
    loss: float
    predicted: float
    measured: float | None
    estimated: bool = False

    @property
    def ratio(self) -> float | None:
        """Measured over predicted change; one if the gradient is right."""
        return None if self.measured is None else self.measured / self.predicted


def measure_slopes(laboratory: Laboratory, baseline: Round) -> list[Slope]:
    """Each player's loss along its own update, against the prediction."""
    return [
        slope
        for player in PLAYERS
        if (slope := _slope(laboratory, baseline.phase(player))) is not None
    ]


def _slope(laboratory: Laboratory, record: PhaseRecord) -> Slope | None:
    player = record.phase
    gradient = {n: g for n, g in record.received.items() if owner(n) == player}
    update = {n: u for n, u in record.update.items() if n in gradient}
    predicted = inner(gradient, update)
    if not math.isfinite(predicted) or predicted == 0:
        return None
    step = _step(record, update, predicted)
    if step is None:
        return Slope(player, record.root, predicted, None)
    measured = _central_difference(laboratory, player, update, step)
    for factor in _OTHER_STEPS:
        if measured is None or abs(measured / predicted - 1) <= _TOLERANCE:
            break
        again = _central_difference(laboratory, player, update, factor * step)
        if again is not None:
            measured = min(measured, again, key=lambda m: abs(m - predicted))
    estimated = asks_for_scores_only(record)
    return Slope(player, record.root, predicted, measured, estimated)


def _step(
    record: PhaseRecord, update: dict[str, Tensor], predicted: float
) -> float | None:
    """The factor t, or None if no change of the loss could be told from rounding."""
    coarse = record.autocast or any(u.dtype.itemsize < 4 for u in update.values())
    if coarse or not record.of(record.phase):
        # 16-bit losses are too coarse; a network that ran before its phase began does
        # not feel a shift made there
        return None
    scores = [
        c.scores.abs().mean().item() for c in record.calls if c.scores is not None
    ]
    scale = max(abs(record.root), 1e-8, *scores)
    weights = {name: record.weights[name] for name in update}
    step = min(
        _RELATIVE_CHANGE * scale / abs(predicted),
        _LARGEST_SHIFT * norm(weights) / norm(update),
    )
    return step if abs(step * predicted) >= _SMALLEST_CHANGE * scale else None


def _central_difference(
    laboratory: Laboratory, player: str, update: dict[str, Tensor], step: float
) -> float | None:
    losses = []
    for sign in (1, -1):
        shift = {name: sign * step * change for name, change in update.items()}
        moved = laboratory.repeat(shift=shift, before=player).phase(player)
        if moved.error is not None:
            return None
        losses.append(moved.root)
    return (losses[0] - losses[1]) / (2 * step)


def check_slopes(slopes: Sequence[Slope], baseline: Round) -> Iterator[Finding]:
    """Findings on losses that rise, or that do not follow their gradient."""
    for slope in slopes:
        record = baseline.phase(slope.player)
        maximizes = all(
            group.get("maximize", False)
            for optimizer in record.optimizers
            for group in optimizer.param_groups
        )
        if slope.predicted > 0 and not maximizes and not record.contaminated:
            yield finding(
                "update-raises-loss",
                slope.player,
                f"one update changes the loss by {slope.predicted:+.2g} to first order",
            )
        if slope.ratio is None or slope.estimated:
            continue
        if abs(slope.ratio - 1) > _TOLERANCE:
            yield finding(
                "first-order-mismatch",
                slope.player,
                f"along its update the loss changes by {slope.measured:+.2g}, while the "
                f"gradient predicts {slope.predicted:+.2g}",
            )
