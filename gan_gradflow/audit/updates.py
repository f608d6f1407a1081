"""Does each phase change its own player, by its own gradients, and nothing else?

Leftover gradients, updates of the wrong player, weights that change without an
optimizer, gradients edited at the wrong time, buffers and training modes.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import nn

from gan_gradflow.audit.catalogue import Severity
from gan_gradflow.audit.findings import Finding, finding
from gan_gradflow.audit.players import (
    DISCRIMINATOR,
    PLAYERS,
    Players,
    group,
    other,
    owner,
)
from gan_gradflow.audit.records import PhaseRecord, Round, inner, norm

_TAKEN_BACK = -0.9  # cosine between an update and what happened to it afterwards


def check_updates(
    rounds: Sequence[Round], players: Players, strict: bool
) -> Iterator[Finding]:
    """Findings on what was updated, by what, and when."""
    for player in PLAYERS:
        records = [r.phase(player) for r in rounds if r.phase(player).error is None]
        if not records:
            continue
        yield from _leftovers(records)
        yield from _order(records)
        if players.of(player):
            yield from _own_update(records)
        yield from _foreign_updates(records)
        yield from _outside(records[-1])
        yield from _edits(records)
        yield from _mode(records[-1], players)
    yield from _buffers(rounds, strict)


def _leftovers(records: Sequence[PhaseRecord]) -> Iterator[Finding]:
    phase = records[0].phase
    contaminated = {n: d for record in records for n, d in record.contaminated.items()}
    used_before = sorted(
        name
        for name, deposits in contaminated.items()
        if any(deposit.phase == phase and deposit.stepped for deposit in deposits)
    )
    foreign = sorted(set(contaminated) - set(used_before))
    if used_before and not any(r.stepped_before_backward for r in records):
        yield finding(
            "gradients-not-zeroed",
            phase,
            f"{len(used_before)} parameters were updated with gradients that an earlier "
            "update had already used",
            used_before,
        )
    if foreign:
        yield finding(
            "leftover-from-other-phase",
            phase,
            f"{len(foreign)} parameters were updated with gradients that the "
            f"{other(phase)}'s phase left behind",
            foreign,
        )


def _order(records: Sequence[PhaseRecord]) -> Iterator[Finding]:
    phase = records[0].phase
    arrived = any(owner(name) == phase for r in records for name in r.received)
    if arrived and all(record.stepped_before_backward for record in records):
        yield finding(
            "step-before-backward", phase, "the optimizer stepped before backward"
        )
    if any(record.zeroed_before_step for record in records):
        yield finding(
            "zeroed-before-step", phase, "gradients arrived, but were zero at the step"
        )


def _own_update(records: Sequence[PhaseRecord]) -> Iterator[Finding]:
    phase = records[0].phase
    changed = any(
        owner(name) == phase
        for record in records
        for name in (*record.update, *record.outside)
    )
    arrived = [g for r in records for n, g in r.received.items() if owner(n) == phase]
    zeroed = any(record.zeroed_before_step for record in records)
    # a gradient scaler skips updates that overflow, and lowers its factor
    finite = all(bool(gradient.isfinite().all()) for gradient in arrived)
    if changed or not arrived or zeroed or not finite:
        return
    stepped = any(record.steps for record in records)
    why = "though an optimizer stepped" if stepped else "and no optimizer stepped"
    yield finding(
        "no-update",
        phase,
        f"no {phase} parameter changed in {len(records)} runs, {why}",
    )


def _foreign_updates(records: Sequence[PhaseRecord]) -> Iterator[Finding]:
    phase = records[0].phase
    foreign = sorted(
        {
            name
            for record in records
            for name in (*record.update, *record.outside)
            if owner(name) != phase
        }
    )
    if foreign:
        yield finding(
            "other-player-updated",
            phase,
            f"{len(foreign)} {other(phase)} parameters changed in the {phase}'s phase",
            foreign,
        )


def _outside(record: PhaseRecord) -> Iterator[Finding]:
    phase = record.phase
    outside = {n: t for n, t in record.outside.items() if owner(n) == phase}
    if not outside or not record.steps:  # without an optimizer the user updates by hand
        return
    if phase == DISCRIMINATOR and set(outside) <= record.clipped:
        yield finding(
            "weights-clipped", phase, f"{len(outside)} parameters were clipped", outside
        )
        return
    update = {n: t for n, t in record.update.items() if n in outside}
    sizes = norm(outside) * norm(update)
    taken_back = sizes > 0 and inner(outside, update) / sizes < _TAKEN_BACK
    code = (
        "averaging-into-live-weights"
        if taken_back
        else "weights-changed-outside-optimizer"
    )
    verb = "pulled back after the optimizer's step" if taken_back else "changed as well"
    yield finding(
        code, phase, f"{len(outside)} parameters were {verb}", sorted(outside)
    )


def _edits(records: Sequence[PhaseRecord]) -> Iterator[Finding]:
    phase = records[0].phase
    before = _union(record.edited_before_unscaling for record in records)
    if before:
        yield finding(
            "clipped-before-unscaling",
            phase,
            f"{len(before)} gradients were edited before the scaler divided them",
            before,
        )
    after = [
        n for n in _union(r.edited_after_step for r in records) if owner(n) == phase
    ]
    if after:
        yield finding(
            "clipped-after-step",
            phase,
            f"{len(after)} gradients were edited after the optimizer's step",
            after,
        )
    factor = _scale_factor(records[-1])
    if factor is not None:
        yield finding(
            "scaled-gradient-stepped",
            phase,
            f"the optimizer used gradients {factor:g} times those of the returned loss",
        )


def _union(sets: Iterable[set[str]]) -> list[str]:
    return sorted(set().union(*sets))


def _scale_factor(record: PhaseRecord) -> float | None:
    """The gradient scaler's factor, if the optimizer's gradients still contain it."""
    if len(record.roots) != 1 or not record.loss or not record.used:
        return None
    factor = record.root / record.loss
    used = {n: t for n, t in record.used.items() if n in record.received}
    received = {n: t for n, t in record.received.items() if n in used}
    if factor < 64 or not torch.isclose(
        torch.tensor(factor).log2(), torch.tensor(factor).log2().round(), atol=1e-4
    ):
        return None
    size = norm(received)
    return factor if size > 0 and norm(used) > 0.99 * size else None


def _buffers(rounds: Sequence[Round], strict: bool) -> Iterator[Finding]:
    for player in PLAYERS:
        own = _union(r.phase(player).buffers for r in rounds)
        there = _union(r.phase(other(player)).buffers for r in rounds)
        there = [name for name in there if owner(name) == player]
        # spectral norm may have converged: unchanged at home does not mean frozen there
        at_home = set().union(*(r.phase(player).ran_training for r in rounds))
        ran = any(r.phase(player).of(player) for r in rounds)
        wrong = [n for n in there if ran and n not in own and group(n) not in at_home]
        both = [name for name in there if name not in wrong]
        if wrong:
            yield finding(
                "buffers-in-wrong-phase",
                other(player),
                f"{len(wrong)} {player} buffers changed in the {other(player)}'s phase "
                "and not in their own",
                wrong,
            )
        if both:
            yield finding(
                "buffers-in-both-phases",
                other(player),
                f"{len(both)} {player} buffers changed in the {other(player)}'s phase",
                both,
                severity=Severity.VIOLATION if strict else None,
            )


def _mode(record: PhaseRecord, players: Players) -> Iterator[Finding]:
    calls = record.of(record.phase)
    if not calls or any(call.training for call in calls):
        return
    depends = [
        name
        for name, module in players.modules()
        if owner(name) == record.phase and _depends_on_mode(module)
    ]
    if depends:
        yield finding(
            f"{record.phase}-in-eval-mode",
            record.phase,
            f"the {record.phase} trains in evaluation mode; {len(depends)} modules "
            "behave differently in it",
            depends,
        )


def _depends_on_mode(module: nn.Module) -> bool:
    if isinstance(module, nn.modules.batchnorm._NormBase):
        return module.track_running_stats
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p > 0
    name = type(module).__name__
    return name == "_SpectralNorm" or any(
        type(hook).__name__ == "SpectralNorm"
        for hook in module._forward_pre_hooks.values()
    )
