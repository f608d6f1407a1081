"""Do the two losses pull the right way, and as hard as a mean loss does?

Every score is replaced by one neutral number, so that reals and fakes look alike and no
loss is saturated; the gradient at the scores then shows what each player wants. With the
sums of the negative gradient over reals, p_r, and over fakes, p_f, a player pulls the
scores of reals and fakes apart if p_r - p_f > 0. The discriminator must do that and the
generator the opposite. If both pull the same way, one of them is wrong; with the usual
convention (reals score high) it is the generator if both pull apart, and the
discriminator if both pull together.

For a mean loss these sums are of order one whatever the batch size n; a loss that is
averaged twice gives 1 / n of that, a summed one n times as much.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch

from gan_gradflow.audit.findings import Finding, finding
from gan_gradflow.audit.laboratory import Laboratory
from gan_gradflow.audit.players import DISCRIMINATOR, GENERATOR, PLAYERS, owner
from gan_gradflow.audit.recorder import Intervention
from gan_gradflow.audit.records import (
    PhaseRecord,
    Round,
    asks_for_scores_only,
    inner,
    norm,
)

_ORDER_ONE = (0.2, 4.0)  # the sums above, for the usual losses at a neutral score
_SHIFT = 0.1
_MIN_ROWS = 16  # below, 1 / n is itself of order one


class Push(NamedTuple):
    """How hard a step pushes scores up, summed over reals and over fakes.

    `num_reals` and `num_fakes` count the samples that were scored.
    """

    reals: float
    fakes: float
    num_reals: int
    num_fakes: int

    @property
    def apart(self) -> float:
        """Positive if it pulls the scores of reals above those of fakes."""
        return self.reals - self.fakes

    @property
    def size(self) -> float:
        """The larger of the two sums."""
        return max(abs(self.reals), abs(self.fakes))


def neutral_score(baseline: Round) -> float:
    """A score between the usual targets: of a probability, or of a free score."""
    scores = [c.scores for r in baseline for c in r.calls if c.scores is not None]
    unit = all(bool(((s >= 0) & (s <= 1)).all()) for s in scores)
    return 0.25 if unit and scores else -0.5


def measure_pushes(laboratory: Laboratory, baseline: Round) -> dict[str, Push]:
    """What each player's update does to neutral scores; empty where it is unknown."""
    score = neutral_score(baseline)
    neutral = Intervention(score=score)
    probe = laboratory.repeat(discriminator=neutral, generator=neutral)
    pushes = {}
    for player in PLAYERS:
        push = _push(probe.phase(player), _ascends(baseline.phase(player)))
        if push is not None:
            pushes[player] = push
    if GENERATOR not in pushes and asks_for_scores_only(baseline.generator):
        pushes[GENERATOR] = _push_from_scores(laboratory, score)
    return pushes


def _push_from_scores(laboratory: Laboratory, score: float) -> Push:
    """How the generator's loss falls when all scores rise, without any gradient."""
    high, low = (
        laboratory.repeat(generator=Intervention(score=score + shift)).generator.root
        for shift in (_SHIFT, -_SHIFT)
    )
    return Push(reals=0.0, fakes=(low - high) / (2 * _SHIFT), num_reals=0, num_fakes=0)


def actual_pushes(baseline: Round) -> dict[str, Push]:
    """The same at the scores as they are."""
    pushes = {record.phase: _push(record, _ascends(record)) for record in baseline}
    return {player: push for player, push in pushes.items() if push is not None}


def check_signs(pushes: dict[str, Push], baseline: Round) -> Iterator[Finding]:
    """Findings on the signs of both losses."""
    ran = [r for r in baseline if r.error is None and r.of(DISCRIMINATOR)]
    for record in ran:
        if record.phase not in pushes and _own_gradient(record):
            yield finding(
                "scores-not-attributed",
                record.phase,
                f"the {record.phase}'s loss has no known gradient at the scores of "
                "reals and fakes",
            )
    if len(pushes) < 2 or not pushes[DISCRIMINATOR].num_reals:
        return
    d, g = pushes[DISCRIMINATOR], pushes[GENERATOR]
    seen = f"(pushes reals by {d.reals:+.2g}, fakes by {d.fakes:+.2g})"
    if abs(d.apart) < 0.05 * (abs(d.reals) + abs(d.fakes)):
        yield finding(
            "discriminator-blind",
            DISCRIMINATOR,
            f"the discriminator pushes all scores the same way {seen}",
        )
    elif d.apart > 0 and g.apart > 0:
        yield finding(
            "wrong-sign-generator",
            GENERATOR,
            f"the generator lowers the scores of its fakes ({g.fakes:+.2g}), as the "
            "discriminator does",
        )
    elif d.apart < 0 and g.apart < 0:
        yield finding(
            "wrong-sign-discriminator",
            DISCRIMINATOR,
            f"the discriminator helps the generator {seen}; if reals are meant to score "
            "low, the generator's sign is the wrong one",
        )
    elif d.apart < 0 < g.apart:
        yield finding("scores-low-for-reals", DISCRIMINATOR, f"reals score low {seen}")


def check_scale(pushes: dict[str, Push], laboratory: Laboratory) -> Iterator[Finding]:
    """Findings on losses that were averaged twice, or summed."""
    low, high = _ORDER_ONE
    for player, push in pushes.items():
        n = push.num_fakes
        if n < _MIN_ROWS or push.size == 0:
            continue
        if push.size < low and low <= push.size * n <= high:
            if player == DISCRIMINATOR or not _has_other_terms(laboratory):
                yield finding(
                    "loss-averaged-twice",
                    player,
                    f"the gradient at the scores sums to {push.size:.2g}, about 1/{n} of "
                    f"a mean loss over {n} fakes",
                )
        elif push.size > 2 * high and low <= push.size / n <= high:
            yield finding(
                "loss-summed",
                player,
                f"the gradient at the scores sums to {push.size:.3g}, about {n} times "
                "that of a mean loss",
            )


def check_logits(baseline: Round) -> Iterator[Finding]:
    """A finding if probabilities go where logits belong."""
    for record in baseline:
        if record.logits_from_sigmoid:
            yield finding(
                "sigmoid-twice",
                record.phase,
                "binary_cross_entropy_with_logits is given the output of a sigmoid",
            )


def _has_other_terms(laboratory: Laboratory) -> bool:
    """Whether the generator's loss has terms beside the discriminator's scores.

    Then a small weight on the scores is a choice, not a mistake.
    """
    cut = laboratory.repeat(generator=Intervention(cut=True)).generator.received
    return any(owner(n) == GENERATOR and bool(g.any()) for n, g in cut.items())


def _own_gradient(record: PhaseRecord) -> bool:
    return any(owner(name) == record.phase for name in record.received)


def _ascends(record: PhaseRecord) -> bool:
    """Whether the optimizer goes up the gradient that it received."""
    own = {n: g for n, g in record.received.items() if owner(n) == record.phase}
    update = {n: u for n, u in record.update.items() if n in own}
    sizes = norm(own) * norm(update)
    return sizes > 0 and not record.contaminated and inner(own, update) > 0.05 * sizes


def _push(record: PhaseRecord, ascends: bool) -> Push | None:
    sums = {True: 0.0, False: 0.0}
    counts = {True: 0, False: 0}
    for call in record.of(DISCRIMINATOR):
        if call.slopes is None:
            continue
        push = call.slopes.reshape(len(call.slopes), -1).sum(1).cpu().double()
        fake = call.is_fake
        if record.phase == GENERATOR and not bool(fake.any()):
            fake = torch.full_like(fake, call.input_has_graph)  # a lost trace
        for kind in sums:
            sums[kind] += float(push[fake == kind].sum()) * (1 if ascends else -1)
            counts[kind] += int((fake == kind).sum())
    if not counts[True]:
        return None
    return Push(sums[False], sums[True], counts[False], counts[True])
