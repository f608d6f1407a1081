"""The audit of a training loop that somebody else wrote.

The two step functions run as they are, for a few iterations that are watched and a few
that are repeated with one thing changed (see `laboratory.py`); the checks judge what was
seen. Afterwards everything is as it was before.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from gan_gradflow.audit import tables
from gan_gradflow.audit.arrival import check_arrival
from gan_gradflow.audit.direction import (
    actual_pushes,
    check_logits,
    check_scale,
    check_signs,
    measure_pushes,
)
from gan_gradflow.audit.failures import check_failures
from gan_gradflow.audit.findings import Finding, finding
from gan_gradflow.audit.first_order import check_slopes, measure_slopes
from gan_gradflow.audit.health import check_health, measure_layers
from gan_gradflow.audit.laboratory import Laboratory, reproducible
from gan_gradflow.audit.latents import check_latents
from gan_gradflow.audit.ledger import Ledger
from gan_gradflow.audit.ownership import check_ownership
from gan_gradflow.audit.penalty import check_penalty
from gan_gradflow.audit.players import DISCRIMINATOR, GENERATOR, PLAYERS, Players
from gan_gradflow.audit.recorder import Recorder
from gan_gradflow.audit.records import Round
from gan_gradflow.audit.report import AuditReport
from gan_gradflow.audit.state import Snapshot
from gan_gradflow.audit.updates import check_updates

_ITERATIONS = 3  # the fewest in which fakes can be two updates old


def audit(
    generator: nn.Module | Any,
    discriminator: nn.Module | Any,
    discriminator_step: Callable[..., Any] | Any,
    generator_step: Callable[..., Any] | Any,
    optimizers: Sequence[Optimizer] = (),
    *,
    batches: Sequence[Any] = (),
    restore: Sequence[Any] = (),
    passages: Sequence[nn.Module] = (),
    strict: bool = False,
) -> AuditReport:
    """Find out whether the gradients of a GAN are right, by running its own two steps.

    Each step function runs one phase (zero the gradients, loss, backward, optimizer
    step) on these very networks and may return its loss. It takes a batch or nothing.
    About fifteen iterations are run; then networks, gradients, optimizers, modes and
    global randomness are put back. What else the steps change (an iterator, a list) is
    not, unless it is named in `restore`. Whatever is wrong with the arguments or the
    steps becomes a finding, not an error.

    Args:
        generator: the network that makes fakes.
        discriminator: the network that scores reals and fakes, one score per sample.
        discriminator_step: one update of the discriminator.
        generator_step: one update of the generator.
        optimizers: all that training uses; those that step are found without it.
        batches: what the step functions are called with, in turn; a tuple whose length
            is the number of required arguments is spread over them.
        restore: other objects that the steps change (weight averages, gradient scalers,
            schedulers), with `state_dict` or `get_state`.
        passages: what fakes go through where torch cannot follow them (a simulator, a
            file): what these modules return counts as made from what they were given.
        strict: report buffers that change in both phases as violations, not as notes.

    Raises:
        ValueError: something in `restore` cannot be restored.
    """
    started = time.perf_counter()
    networks = {GENERATOR: generator, DISCRIMINATOR: discriminator}
    unfit = [p for p, network in networks.items() if not isinstance(network, nn.Module)]
    if unfit:
        findings = [
            finding(
                "not-a-module", "setup", f"the {p} is a {type(networks[p]).__name__}"
            )
            for p in unfit
        ]
        return AuditReport(findings, seconds=time.perf_counter() - started)
    players = Players(generator, discriminator)
    report = AuditReport(list(_unfit_parameters(players)))
    if not players.uninitialised():
        steps = {DISCRIMINATOR: discriminator_step, GENERATOR: generator_step}
        recorder = Recorder(players, Ledger(players, list(optimizers)), passages)
        _Audit(recorder, steps, batches, restore, strict).fill(report)
    report.seconds = time.perf_counter() - started
    return report


def _unfit_parameters(players: Players) -> Iterator[Finding]:
    if players.shared:
        yield finding(
            "shared-parameters",
            "setup",
            f"{len(players.shared)} parameters belong to both players; they are left "
            "out of every other check",
            players.shared,
        )
    for player, network in players.networks.items():
        if not any(True for _ in network.parameters()):
            yield finding("no-parameters", "setup", f"the {player} has no parameters")
    lazy = players.uninitialised()
    if lazy:
        yield finding("no-parameters", "setup", "lazy modules are unshaped", lazy)


class _Audit:
    """One audit in the making: watch, repeat, judge, put back."""

    def __init__(
        self,
        recorder: Recorder,
        steps: dict[str, Any],
        batches: Sequence[Any],
        restore: Sequence[Any],
        strict: bool,
    ) -> None:
        self.recorder = recorder
        self.players, self.ledger = recorder.players, recorder.ledger
        self.steps = steps
        self.batches = batches
        self.restore = restore
        self.strict = strict

    def fill(self, report: AuditReport) -> None:
        """Run the audit and write what it finds into the report."""
        untouched = Snapshot(self.players, self.ledger.optimizers, self.restore)
        self.ledger.newcomers = untouched
        self.recorder.attach()
        try:
            # what is compiled runs as it is written, or it would compile the hooks too
            with torch.compiler.set_stance("force_eager"):
                rounds, laboratory = self._watch()
                self._judge(report, rounds)
                if all(record.error is None for record in rounds[-1]):
                    self._experiment(report, laboratory)
        finally:
            self.recorder.detach()
            untouched.restore()

    def _batch(self, iteration: int) -> Any:
        return self.batches[iteration % len(self.batches)] if self.batches else None

    def _watch(self) -> tuple[list[Round], Laboratory]:
        """A few iterations as they come, and a way to repeat the last one."""
        rounds = []
        for iteration in range(_ITERATIONS):
            batch = self._batch(iteration)
            state = Snapshot(self.players, self.ledger.optimizers, self.restore)
            laboratory = Laboratory(self.recorder, state, self.steps, batch)
            discriminator, generator = (
                self.recorder.run(player, self.steps[player], batch)
                for player in PLAYERS
            )
            rounds.append(Round(discriminator, generator))
        return rounds, laboratory

    def _judge(self, report: AuditReport, rounds: list[Round]) -> None:
        players, optimizers = self.players, self.ledger.optimizers
        report.findings += [
            *check_ownership(rounds, players, optimizers),
            *check_failures(rounds),
            *check_arrival(rounds, players),
            *check_latents(rounds, self.batches),
            *check_updates(rounds, players, self.strict),
        ]
        report.tables += [
            tables.gradient_table(rounds, players, report.findings),
            tables.buffer_table(rounds, players, report.findings),
            tables.optimizer_table(rounds, players, optimizers, report.findings),
        ]

    def _experiment(self, report: AuditReport, laboratory: Laboratory) -> None:
        baseline, again = laboratory.repeat(), laboratory.repeat()
        failed = [r.error for r in (*baseline, *again) if r.error is not None]
        if failed:
            message = f"a repeated step raised {type(failed[0]).__name__}: {failed[0]}"
            report.findings.append(finding("not-reproducible", "setup", message[:300]))
            return
        pushes = measure_pushes(laboratory, baseline)
        report.findings += [
            *check_signs(pushes, baseline),
            *check_scale(pushes, laboratory),
            *check_logits(baseline),
        ]
        slopes = []
        if reproducible(baseline, again):
            slopes = measure_slopes(laboratory, baseline)
            report.findings += [
                *check_slopes(slopes, baseline),
                *check_penalty(laboratory, baseline),
            ]
        else:
            report.findings.append(
                finding(
                    "not-reproducible",
                    "setup",
                    "the first-order and penalty checks were left out",
                )
            )
        self.recorder.detach()
        layers = measure_layers(baseline, self.players)
        report.findings += check_health(
            baseline, layers, pushes, actual_pushes(baseline)
        )
        report.tables += [
            tables.direction_table(slopes, pushes, report.findings),
            tables.health_table(layers, report.findings),
        ]
