"""Does a gradient penalty train the discriminator, or only show in its loss?

A penalty is a call of `torch.autograd.grad` on samples in the discriminator's step. Two
experiments tell whether it matters. Forcing `create_graph=True` must not change the
gradients of the parameters; if it does, the penalty was meant to act and could not.
Scaling the returned gradients must not change the loss without changing the gradients
of the parameters; if it does, the penalty is detached.
"""

from collections.abc import Iterator

from gan_gradflow.audit.findings import Finding, finding
from gan_gradflow.audit.laboratory import Laboratory, same, same_gradients
from gan_gradflow.audit.players import DISCRIMINATOR
from gan_gradflow.audit.recorder import Intervention
from gan_gradflow.audit.records import Round

_SCALE = 1.5


def check_penalty(laboratory: Laboratory, baseline: Round) -> Iterator[Finding]:
    """Findings on gradient penalties without effect."""
    record = baseline.discriminator
    if not record.penalties or record.error is not None:
        return
    if record.graphless_penalties:
        forced = laboratory.repeat(discriminator=Intervention(create_graph=True))
        if not same_gradients(forced.discriminator.received, record.received):
            yield finding(
                "penalty-without-create-graph",
                DISCRIMINATOR,
                "autograd.grad runs without create_graph; with it, the discriminator's "
                "gradients would be others",
            )
            return
    scaled = laboratory.repeat(discriminator=Intervention(gradient_scale=_SCALE))
    seen = scaled.discriminator
    if same_gradients(seen.received, record.received) and not same(
        seen.root, record.root
    ):
        yield finding(
            "penalty-detached",
            DISCRIMINATOR,
            f"with {_SCALE} times the input gradients the loss is {seen.root:.4g} "
            f"instead of {record.root:.4g}, but no parameter gradient changes",
        )
