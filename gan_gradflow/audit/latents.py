"""Does the generator get new inputs in every iteration?

Inputs that are rows of the batch (a conditional or image-to-image generator) may repeat
with the batch; other floating-point inputs should not.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from gan_gradflow.audit.findings import Finding, finding
from gan_gradflow.audit.nesting import tensors_in
from gan_gradflow.audit.players import DISCRIMINATOR, GENERATOR
from gan_gradflow.audit.records import PhaseRecord, Round


def check_latents(rounds: Sequence[Round], batches: Sequence[Any]) -> Iterator[Finding]:
    """A finding if every iteration used the same latents."""
    if not batches:
        return  # a loop that repeats its own data cannot be told from this
    given = [tensor for batch in batches for tensor in tensors_in(batch)]
    for player in (DISCRIMINATOR, GENERATOR):
        seen = [_latents(r.phase(player), given) for r in rounds]
        if all(seen) and all(_equal(seen[0], later) for later in seen[1:]):
            yield finding(
                "latents-not-renewed",
                player,
                f"the same latents in each of {len(rounds)} iterations",
            )


def _latents(record: PhaseRecord, given: list[Tensor]) -> list[Tensor]:
    tensors = [t for call in record.of(GENERATOR) for t in tensors_in(call.inputs)]
    return [
        tensor
        for tensor in tensors
        if tensor.is_floating_point()
        and not any(_equal([tensor], [other]) for other in given)
    ]


def _equal(left: list[Tensor], right: list[Tensor]) -> bool:
    return len(left) == len(right) and all(
        a.shape == b.shape and bool((a == b).all())
        for a, b in zip(left, right, strict=True)
    )
