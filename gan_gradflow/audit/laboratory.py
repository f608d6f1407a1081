"""Repeats one iteration from the same state, with one thing changed.

What differs between two repeats is due to that change alone: state, randomness and batch
are the same, and the optimizers start without momentum. A whole iteration is repeated,
not one phase, because fakes may be handed from one step to the other.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from gan_gradflow.audit.players import PLAYERS
from gan_gradflow.audit.recorder import Intervention, Recorder
from gan_gradflow.audit.records import Round
from gan_gradflow.audit.state import Snapshot

_UNCHANGED = Intervention()


class Laboratory:
    """Runs the user's two steps again and again from one state.

    Args:
        recorder: watches the steps; its players' state is changed by every repeat.
        snapshot: the state to start from.
        steps: the step function of each player.
        batch: what the steps are given.
    """

    def __init__(
        self,
        recorder: Recorder,
        snapshot: Snapshot,
        steps: Mapping[str, Callable[..., Any]],
        batch: Any,
    ) -> None:
        self.recorder = recorder
        self.players = recorder.players
        self._snapshot = snapshot
        self._steps = steps
        self._batch = batch
        self._books = recorder.ledger.books()

    def repeat(
        self,
        discriminator: Intervention = _UNCHANGED,
        generator: Intervention = _UNCHANGED,
        shift: Mapping[str, Tensor] | None = None,
        before: str | None = None,
    ) -> Round:
        """One iteration under these interventions.

        Args:
            discriminator: what changes in the discriminator's step.
            generator: what changes in the generator's step.
            shift: what is added to parameters, by name, before a phase.
            before: the phase before which it is added.
        """
        self._snapshot.restore()
        self.recorder.ledger.reopen(self._books)
        for optimizer in self.recorder.ledger.optimizers:
            optimizer.state.clear()
        records = {}
        for player, change in zip(PLAYERS, (discriminator, generator), strict=True):
            if shift is not None and player == before:
                for name, step in shift.items():
                    self.players.parameters[name].data.add_(step)
            self.recorder.intervention = change
            records[player] = self.recorder.run(
                player, self._steps[player], self._batch
            )
        self.recorder.intervention = _UNCHANGED
        return Round(**records)


def same(left: float, right: float, tolerance: float = 1e-5) -> bool:
    """Whether two losses agree as closely as a repeated run does."""
    return math.isclose(left, right, rel_tol=tolerance, abs_tol=tolerance)


def reproducible(first: Round, second: Round) -> bool:
    """Whether two repeats without a change saw the same losses and gradients."""
    return all(
        same(a.root, b.root) and same_gradients(a.received, b.received)
        for a, b in zip(first, second, strict=True)
    )


def same_gradients(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    """Whether two gradients, by parameter name, agree up to rounding."""
    return left.keys() == right.keys() and all(
        torch.allclose(
            left[n], right[n], rtol=1e-3, atol=1e-5 * float(left[n].abs().max())
        )
        for n in left
    )
