"""Steps that raise and numbers that are not finite, told as findings.

Several mistakes make autograd raise; its message is recognised and named.
"""

from collections.abc import Iterator, Sequence

import torch

from gan_gradflow.audit.findings import Finding, finding
from gan_gradflow.audit.players import PLAYERS, owner
from gan_gradflow.audit.records import PhaseRecord, Round

_MESSAGES = {
    "modified by an inplace operation": "in-place-edit",
    "backward through the graph a second time": "graph-reused",
}


def check_failures(rounds: Sequence[Round]) -> Iterator[Finding]:
    """Findings on errors, overwritten tensors, NaN and infinity."""
    for player in PLAYERS:
        records = [r.phase(player) for r in rounds]
        failed = next((r for r in records if r.error is not None), None)
        if failed is not None:
            yield _raised(failed)
        else:
            yield from _overwritten(records[-1])
        yield from _not_finite(records)


def _raised(record: PhaseRecord) -> Finding:
    first = str(record.error).strip().partition("\n")[0]
    code = next((c for text, c in _MESSAGES.items() if text in first), "step-raised")
    message = f"{type(record.error).__name__}: {first[:200]}"
    if isinstance(record.error, TypeError) and "positional argument" in first:
        message += "; steps that take a batch need `batches=[...]`"
    return finding(code, record.phase, message)


def _overwritten(record: PhaseRecord) -> Iterator[Finding]:
    for call in record.calls:
        if call.input_overwritten:
            yield finding(
                "in-place-edit",
                record.phase,
                f"the {call.player} overwrites its own input",
            )
            return
    if record.phase == "generator" and any(c.output_overwritten for c in record.calls):
        yield finding(
            "in-place-edit",
            record.phase,
            "the fakes were overwritten after the generator returned them, unseen by "
            "autograd",
        )


def _not_finite(records: Sequence[PhaseRecord]) -> Iterator[Finding]:
    phase = records[0].phase
    losses = [x for r in records for x in (*r.roots, r.loss) if x is not None]
    if not all(torch.tensor(loss).isfinite() for loss in losses):
        yield finding("non-finite-loss", phase, "the loss is NaN or infinite")
    bad = sorted(
        {
            name
            for record in records
            for name, gradient in record.used.items()
            if owner(name) == phase and not bool(gradient.isfinite().all())
        }
    )
    if bad:
        yield finding(
            "non-finite-gradient",
            phase,
            f"{len(bad)} parameters were updated with NaN or infinite gradients",
            bad,
        )
