"""Does each player's gradient arrive where it should, and nowhere else?

In its own phase every trainable parameter that took part needs a gradient; the
generator's must come through the discriminator and through fresh fakes. In the
discriminator's phase the generator must get none.
"""

from collections.abc import Iterator, Sequence

from gan_gradflow.audit.findings import Finding, finding
from gan_gradflow.audit.players import (
    DISCRIMINATOR,
    GENERATOR,
    PLAYERS,
    Players,
    group,
    owner,
)
from gan_gradflow.audit.records import Call, PhaseRecord, Round


def check_arrival(rounds: Sequence[Round], players: Players) -> Iterator[Finding]:
    """Findings on missing, misdirected and leaking gradients."""
    last = rounds[-1]
    for player in PLAYERS:
        record = last.phase(player)
        if players.of(player):
            yield from _own_gradients(record, players)
    yield from _leakage(rounds, players)
    yield from _coverage(rounds)


def _own_gradients(record: PhaseRecord, players: Players) -> Iterator[Finding]:
    phase = record.phase
    own = {n: g for n, g in record.received.items() if owner(n) == phase}
    reason = _broken_path(record)
    if reason is not None:
        yield reason
    elif not own and record.error is None:
        yield _nothing_arrived(record, players)
    elif own:
        yield from _gaps(record, own, players)


def _broken_path(record: PhaseRecord) -> Finding | None:
    """The first place where the way from the loss to the own parameters is cut."""
    phase, calls = record.phase, record.of(record.phase)
    if phase == GENERATOR:
        return _broken_generator_path(record)
    if calls and all(call.frozen for call in calls):
        return finding(
            "player-frozen", phase, "all discriminator parameters are frozen"
        )
    if calls and not any(call.graph_enabled for call in calls):
        return finding(
            "no-grad-around-discriminator", phase, "the discriminator ran under no_grad"
        )
    if not calls and record.error is None:
        return finding(
            "discriminator-not-called", phase, "the step never calls the discriminator"
        )
    return None


def _broken_generator_path(record: PhaseRecord) -> Finding | None:
    phase = GENERATOR
    made, judged = _completed(record, GENERATOR), _completed(record, DISCRIMINATOR)
    on_fakes = [call for call in judged if bool(call.is_fake.any())]
    if any(owner(name) == GENERATOR for name in record.received):
        # another loss term may train the generator while the adversarial one is cut
        return _cut_between(on_fakes) if on_fakes else None
    if not made and not on_fakes:
        raised_elsewhere = any(call.input_has_graph for call in judged) or not judged
        if record.error is not None and raised_elsewhere:
            return None
        return finding(
            "generator-not-called", phase, "the step never calls the generator"
        )
    if made and all(call.frozen for call in made):
        return finding("player-frozen", phase, "all generator parameters are frozen")
    if made and not any(call.graph_enabled for call in made):
        return finding(
            "no-grad-around-generator", phase, "the generator ran under no_grad"
        )
    if made and not any(call.output_has_graph for call in made):
        return finding(
            "generator-breaks-graph", phase, "the generator's output has no grad_fn"
        )
    if not judged:
        if record.error is not None:
            return None
        return finding(
            "discriminator-not-called", phase, "the step never calls the discriminator"
        )
    if not any(call.graph_enabled for call in judged):
        return finding(
            "no-grad-around-discriminator", phase, "the discriminator ran under no_grad"
        )
    return _cut_between(judged)


def _completed(record: PhaseRecord, player: str) -> list[Call]:
    return [call for call in record.of(player) if call.completed]


def _cut_between(calls: list[Call]) -> Finding | None:
    if any(call.input_has_graph or not call.graph_enabled for call in calls):
        return None
    return finding(
        "detach-in-generator-step",
        GENERATOR,
        "the fakes that reach the discriminator carry no graph",
    )


def _nothing_arrived(record: PhaseRecord, players: Players) -> Finding:
    if not record.roots:
        return finding("no-backward", record.phase, "the step never calls backward")
    names = sorted({group(name) for name in players.of(record.phase)})
    return finding(
        "no-gradient",
        record.phase,
        f"none of the {record.phase}'s parameters got a gradient",
        names,
    )


def _gaps(record: PhaseRecord, own: dict, players: Players) -> Iterator[Finding]:
    missing = sorted(record.required - own.keys())
    cut = [name for name in missing if group(name) in record.ran]
    idle = [name for name in missing if group(name) not in record.ran]
    if cut:
        yield finding(
            "no-gradient",
            record.phase,
            f"{len(cut)} of {len(players.of(record.phase))} parameters required a "
            "gradient and got none, though their modules ran",
            cut,
        )
    if idle:
        yield finding(
            "unused-parameters",
            record.phase,
            f"{len(idle)} trainable parameters belong to modules that never ran",
            idle,
        )
    if not any(bool(gradient.any()) for gradient in own.values()):
        yield finding("zero-gradient", record.phase, "every gradient is exactly zero")


def _leakage(rounds: Sequence[Round], players: Players) -> Iterator[Finding]:
    last = rounds[-1]
    leaked = sorted(n for n in last.discriminator.received if owner(n) == GENERATOR)
    if leaked:
        yield finding(
            "missing-detach",
            DISCRIMINATOR,
            f"the discriminator's loss sent gradients into {len(leaked)} of the "
            f"generator's {len(players.of(GENERATOR))} parameters",
            leaked,
        )
    spare = sorted(n for n in last.generator.received if owner(n) == DISCRIMINATOR)
    if spare:
        yield finding(
            "gradient-in-other-phase",
            GENERATOR,
            f"{len(spare)} discriminator parameters got a gradient here as well",
            spare,
        )


def _coverage(rounds: Sequence[Round]) -> Iterator[Finding]:
    """Did the discriminator see both reals and fakes, and fakes that are fresh?"""
    for record in (rounds[-1].discriminator, rounds[-1].generator):
        judged = record.of(DISCRIMINATOR)
        births = [int(b) for call in judged for b in call.births[call.is_fake]]
        if record.phase == DISCRIMINATOR and judged and record.error is None:
            yield from _both_kinds(record, bool(births))
        if births:
            yield from _age(record, record.generator_updates - max(births))


def _both_kinds(record: PhaseRecord, has_fakes: bool) -> Iterator[Finding]:
    judged = record.of(DISCRIMINATOR)
    if not has_fakes and any(call.derived for call in judged):
        return  # only statistics of the fakes reach this side
    if not has_fakes and not record.of(GENERATOR):
        yield finding(
            "stale-fakes",
            DISCRIMINATOR,
            "the step neither calls the generator nor shows fakes that it emitted since "
            "the audit began",
        )
    elif not has_fakes:
        yield finding(
            "no-fakes",
            DISCRIMINATOR,
            "no emission of the generator is among the inputs",
        )
    elif all(bool(call.is_fake.all()) for call in judged):
        yield finding("no-reals", DISCRIMINATOR, "every input is a fake")


def _age(record: PhaseRecord, age: int) -> Iterator[Finding]:
    if age >= 2:
        yield finding(
            "stale-fakes",
            record.phase,
            f"the newest fakes here are {age} generator updates old",
        )
    elif age == 1 and record.phase == DISCRIMINATOR:
        yield finding(
            "fakes-one-update-old",
            record.phase,
            "the fakes are one generator update old",
        )
