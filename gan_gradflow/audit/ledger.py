"""Where every gradient in `.grad` came from, and which update used it.

The ledger books a deposit for each gradient that `backward` brings, forgets deposits
when `.grad` is found empty or zero, and marks them as stepped when an optimizer uses
them. An update is contaminated if one of its deposits was stepped before, or was made in
the other player's phase. Micro-batches whose gradients add up before one update are
neither, so gradient accumulation needs no exception.
"""

from typing import Any, no_type_check

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from gan_gradflow.audit.players import GENERATOR, Players, owner
from gan_gradflow.audit.records import Deposit, PhaseRecord, differs
from gan_gradflow.audit.state import Snapshot


@no_type_check  # called for every gradient: checks would cost more than the audit
class Ledger:
    """Books gradients and updates of all parameters into the current `PhaseRecord`."""

    def __init__(self, players: Players, optimizers: list[Optimizer]) -> None:
        self.players = players
        self.optimizers = optimizers
        self.generator_updates = 0
        self.differentiating = False
        self.stepping = False
        self.newcomers: Snapshot | None = None
        self._record: Any = None  # a PhaseRecord while a step runs
        self._deposits: dict[str, list[Deposit]] = {}
        self._as_received: dict[str, Tensor] = {}
        self._handles: list[Any] = []

    def attach(self) -> None:
        """Hook every parameter, frozen or not, and every optimizer."""
        for name, parameter in self.players.parameters.items():
            if not parameter.is_floating_point():
                continue  # quantised: it cannot have a gradient
            requires_grad = parameter.requires_grad
            parameter.requires_grad_(True)
            self._handles += [
                parameter.register_hook(self._before_deposit(name, parameter)),
                parameter.register_post_accumulate_grad_hook(self._after_deposit(name)),
            ]
            parameter.requires_grad_(requires_grad)
        self._handles += [
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]

    def detach(self) -> None:
        """Remove every hook."""
        while self._handles:
            self._handles.pop().remove()

    def books(self) -> tuple[int, dict[str, list[Deposit]]]:
        """What is booked at this moment, for `reopen`."""
        return self.generator_updates, {n: list(d) for n, d in self._deposits.items()}

    def reopen(self, books: tuple[int, dict[str, list[Deposit]]]) -> None:
        """Go back to what was booked then."""
        self.generator_updates, deposits = books
        self._deposits = {name: list(known) for name, known in deposits.items()}

    def open(self, record: PhaseRecord) -> None:
        """Book what follows into this record."""
        self._record, self.stepping = record, False
        self._as_received = {}
        record.weights = _values(self.players.parameters)

    def close(self, record: PhaseRecord) -> None:
        """Add what only the end of a phase can tell."""
        self._record = None
        for name, parameter in self.players.parameters.items():
            before, now = record.weights[name], parameter.detach()
            if before.shape != now.shape or before.dtype != now.dtype:
                continue
            moved = now - before - record.update.get(name, torch.zeros_like(before))
            rounding = 1e-6 * float(before.abs().max()) if record.steps > 1 else 0.0
            # a comparison with NaN is false: what is not finite has its own finding
            if bool((moved.abs() > rounding).any()):
                record.outside[name] = moved
                limit = now.abs().max()
                if bool((now[moved != 0].abs() == limit).all()):
                    record.clipped.add(name)
        if record.outside and not record.steps:  # an update by hand
            for name in self.players.parameters:
                self._adopt(record, name)
        for name, used in record.used.items():
            left = self.players.parameters[name].grad
            if left is not None and bool(_dense(left).any()) and not _close(left, used):
                record.edited_after_step.add(name)

    def unscaling(self, gradients: Any) -> None:
        """A gradient scaler is about to divide these gradients by its factor."""
        pointers = {gradient.data_ptr() for gradient in gradients}
        for name, parameter in self.players.parameters.items():
            received = self._as_received.get(name)
            gradient = parameter.grad
            if (
                received is not None
                and gradient is not None
                and gradient.data_ptr() in pointers
                and not _close(gradient, received)
            ):
                self._record.edited_before_unscaling.add(name)

    def _before_deposit(self, name: str, parameter: nn.Parameter) -> Any:
        def hook(gradient: Tensor) -> None:
            record = self._record
            if record is None or self.differentiating:
                return
            if parameter.grad is None or not bool(_dense(parameter.grad).any()):
                self._deposits[name] = []
            known = self._deposits.setdefault(name, [])
            if known and name not in record.received:
                record.leftovers[name] = tuple(known)
            known.append(Deposit(record.phase, stepped=False))
            arrived = _dense(gradient).clone()
            earlier = record.received.get(name)
            record.received[name] = arrived if earlier is None else earlier + arrived
            if name in record.used:  # a later backward in the same phase
                del record.used[name]

        return hook

    def _after_deposit(self, name: str) -> Any:
        def hook(parameter: Tensor) -> None:
            if self._record is not None and parameter.grad is not None:
                self._as_received[name] = _dense(parameter.grad).clone()

        return hook

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._record is None:
            return
        if all(optimizer is not known for known in self.optimizers):
            self.optimizers.append(optimizer)
            if self.newcomers is not None:
                self.newcomers.add(optimizer)
        self._before = _values(self.players.parameters)
        closures = [a for a in (*args[1:], *kwargs.values()) if callable(a)]
        self.stepping = not closures  # a closure holds steps of the user's

    def _after_step(self, optimizer: Optimizer, *_: Any) -> None:
        record = self._record
        if record is None:
            return
        self.stepping = False
        record.steps += 1
        if all(optimizer is not known for known in record.optimizers):
            record.optimizers.append(optimizer)
        held = [p for group in optimizer.param_groups for p in group["params"]]
        names = [self.players.names[id(p)] for p in held if id(p) in self.players.names]
        self._book_use(record, names)
        moved = self._book_update(record)
        self.generator_updates += any(owner(name) == GENERATOR for name in moved)

    def _book_use(self, record: PhaseRecord, names: list[str]) -> None:
        own = [name for name in names if owner(name) == record.phase]
        used = []
        for name in names:
            gradient = self.players.parameters[name].grad
            if gradient is not None:
                self._adopt(record, name)
            if gradient is None or not bool(_dense(gradient).any()):
                self._deposits[name] = []
                continue
            used.append(name)
            record.used[name] = _dense(gradient).clone()
            deposits = self._deposits.get(name, [])
            foreign = [d for d in deposits if d.stepped or d.phase != record.phase]
            if foreign:
                record.contaminated[name] = tuple(foreign)
            self._deposits[name] = [Deposit(d.phase, stepped=True) for d in deposits]
        arrived = [name for name in own if name in record.received]
        nonzero = any(bool(record.received[name].any()) for name in arrived)
        if own and not arrived:
            record.stepped_before_backward = True
        elif own and nonzero and not set(own) & set(used):
            record.zeroed_before_step = True

    def _adopt(self, record: PhaseRecord, name: str) -> None:
        """An update without `backward` used what `autograd.grad` returned."""
        gradient = record.computed.get(name)
        if name not in record.received and gradient is not None:
            record.received[name] = _dense(gradient).clone()
            self._deposits[name] = [Deposit(record.phase, stepped=False)]
            record.roots += record.computed_roots
            record.computed_roots = []

    def _book_update(self, record: PhaseRecord) -> list[str]:
        moved = []
        for name, parameter in self.players.parameters.items():
            change = parameter.detach() - self._before[name]
            if bool(differs(parameter.detach(), self._before[name]).any()):
                moved.append(name)
                earlier = record.update.get(name)
                record.update[name] = change if earlier is None else earlier + change
        return moved


def _values(parameters: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in parameters.items()}


def _dense(gradient: Tensor) -> Tensor:
    gradient = gradient.detach()
    return gradient.to_dense() if gradient.is_sparse else gradient


def _close(left: Tensor, right: Tensor) -> bool:
    left, right = _dense(left), _dense(right)
    return torch.allclose(left, right, rtol=1e-4, atol=0.0, equal_nan=True)
