"""Watches one phase at a time: who was called, how, and with whose rows.

A torch function mode sees each torch function that the user's step calls (`backward`,
`autograd.grad`, a gradient scaler's unscaling, losses on logits) and follows the fakes
through them; forward hooks on the two networks see their calls; the ledger sees
gradients and updates. The step itself runs unchanged unless an `Intervention` asks for
a change, which experiments use.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, no_type_check

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gan_gradflow.audit.calling import arguments, as_float, roots
from gan_gradflow.audit.ledger import Ledger
from gan_gradflow.audit.nesting import copied, mapped, tensors_in
from gan_gradflow.audit.origins import NOT_FAKE, Origins
from gan_gradflow.audit.players import GENERATOR, Players
from gan_gradflow.audit.records import Call, PhaseRecord, address, differs

_BACKWARDS = (Tensor.backward, torch.autograd.backward)
_UNSCALE = torch._amp_foreach_non_finite_check_and_unscale_
_SIGMOIDS = ("SigmoidBackward0",)
_RECTIFIERS = (F.relu, F.relu6, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)
_MEMORY = 16  # emissions that are remembered by value


@dataclass(frozen=True)
class Intervention:
    """What an experiment changes while a phase runs.

    Args:
        score: replace every score by this number; the graph stays.
        create_graph: force `create_graph=True` in `torch.autograd.grad`.
        gradient_scale: multiply what `torch.autograd.grad` returns.
        cut: hand out scores from which no gradient reaches the samples.
    """

    score: float | None = None
    create_graph: bool = False
    gradient_scale: float = 1.0
    cut: bool = False


@no_type_check  # called for every torch function: checks would cost more than the audit
class Recorder(TorchFunctionMode):
    """Runs step functions and returns what it saw as `PhaseRecord`s."""

    def __init__(
        self, players: Players, ledger: Ledger, passages: Sequence[nn.Module]
    ) -> None:
        super().__init__()
        self.passages = passages
        self.players = players
        self.ledger = ledger
        self.origins = Origins()
        self.intervention = Intervention()
        self._record: Any = None  # a PhaseRecord while a step runs
        self._emissions: list[tuple[Call, list[tuple[Tensor, Tensor, Any]]]] = []
        self._running = ""
        self._penalising = False
        self._remembered: list[tuple[Tensor, int]] = []
        self._handles: list[Any] = []

    def attach(self) -> None:
        """Hook both networks, every module in them, and what fakes go through."""
        self.ledger.attach()
        for player, network in self.players.networks.items():
            self._handles += [
                network.register_forward_pre_hook(
                    self._enter(player), with_kwargs=True
                ),
                network.register_forward_hook(self._leave(player), with_kwargs=True),
            ]
        for name, module in self.players.modules():
            self._handles.append(module.register_forward_pre_hook(self._mark(name)))
        for passage in self.passages:
            self._handles.append(
                passage.register_forward_hook(self.origins.follow, with_kwargs=True)
            )

    def detach(self) -> None:
        """Remove every hook."""
        self.ledger.detach()
        while self._handles:
            self._handles.pop().remove()

    def run(self, phase: str, step: Callable[..., Any], batch: Any) -> PhaseRecord:
        """Run one step function and return what happened, even if it raised."""
        record = PhaseRecord(phase, self.ledger.generator_updates)
        buffers = {n: b.clone() for n, b in self.players.buffers().items()}
        self._record, self._emissions = record, []
        self.ledger.open(record)
        try:
            with self:
                record.loss = as_float(step(*arguments(step, batch)))
        except Exception as error:
            record.error = error
        self._record = None
        self.ledger.close(record)
        self._look_for_overwritten_emissions()
        for name, buffer in self.players.buffers().items():
            before = buffers.get(name)
            if before is None or _changed(buffer, before):
                record.buffers.add(name)
        return record

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """See one call of a torch function, and let it happen."""
        kwargs = kwargs or {}
        if self.ledger.stepping and func not in _BACKWARDS:  # an optimizer's arithmetic
            return func(*args, **kwargs)
        if func is torch.autograd.grad:
            return self._differentiate(args, kwargs)
        if func in _BACKWARDS:
            self._record.roots += roots(*args, **kwargs)
        elif func is _UNSCALE:
            self.ledger.unscaling(args[0])
        elif func is F.binary_cross_entropy_with_logits and args:
            origin = getattr(args[0].grad_fn, "name", str)()
            self._record.logits_from_sigmoid |= origin in _SIGMOIDS
        output = func(*args, **kwargs)
        if func in _RECTIFIERS:
            self._watch_units(output)
        self.origins.follow(func, args, kwargs, output)
        return output

    def _watch_units(self, output: Tensor) -> None:
        if output.dim() < 2:
            return
        active = (output.detach() != 0).transpose(0, 1).flatten(1).any(1)
        earlier = self._record.active.get(self._running)
        if earlier is not None and earlier.shape == active.shape:
            active = active | earlier
        self._record.active[self._running] = active

    def _differentiate(self, args: tuple, kwargs: dict) -> Any:
        bound = inspect.signature(torch.autograd.grad).bind(*args, **kwargs)
        inputs = list(tensors_in(bound.arguments["inputs"]))
        names = [self.players.names.get(id(tensor)) for tensor in inputs]
        self._penalising = not any(names)
        if self._penalising:
            self._record.penalties += 1
            graphless = not bound.arguments.get("create_graph")
            self._record.graphless_penalties += graphless
        if self.intervention.create_graph:
            bound.arguments["create_graph"] = True
        self.ledger.differentiating = True
        try:
            gradients = torch.autograd.grad(*bound.args, **bound.kwargs)
        finally:
            self.ledger.differentiating = False
            penalising, self._penalising = self._penalising, False
        if not penalising:
            self._record.computed.update(zip(names, gradients, strict=False))
            given = bound.arguments.get("grad_outputs")
            self._record.computed_roots += roots(bound.arguments["outputs"], given)
            return gradients
        scale = self.intervention.gradient_scale
        if scale == 1:
            return gradients
        return tuple(None if g is None else scale * g for g in gradients)

    def _mark(self, name: str) -> Any:
        def hook(module: nn.Module, args: tuple) -> None:
            if self._record is not None:
                self._record.ran.add(name)
                if module.training:
                    self._record.ran_training.add(name)
                self._running = name
                devices = {t.device.type for t in tensors_in(args)}
                autocast = any(torch.is_autocast_enabled(d) for d in devices)
                self._record.autocast |= autocast

        return hook

    def _enter(self, player: str) -> Any:
        def hook(network: nn.Module, args: tuple, kwargs: dict) -> None:
            if self._record is None or network is not self.players.networks[player]:
                return  # a copy of the network carries this hook as well
            inputs = list(tensors_in((args, kwargs)))
            births = self._births_of(inputs)
            parameters = self.players.of(player)
            trainable = {name for name, p in parameters.items() if p.requires_grad}
            if player == self._record.phase:
                self._record.required |= trainable
            self._record.calls.append(
                Call(
                    player=player,
                    graph_enabled=torch.is_grad_enabled(),
                    training=network.training,
                    frozen=not trainable,
                    births=births,
                    derived=any(map(self.origins.derived, inputs)),
                    inputs=(copied(args), copied(kwargs)),
                    input_has_graph=any(tensor.requires_grad for tensor in inputs),
                )
            )

        return hook

    def _births_of(self, inputs: list[Tensor]) -> Tensor:
        """Births by trace; failing that, by value (a NumPy round trip ends a trace)."""
        rows = max((len(tensor) for tensor in inputs if tensor.dim()), default=0)
        births = self.origins.latest(inputs, rows)
        if bool((births != NOT_FAKE).any()):
            return births
        for value, birth in self._remembered:
            if any(t.shape == value.shape and bool((t == value).all()) for t in inputs):
                births = births.clamp(min=birth)
        return births

    def _leave(self, player: str) -> Any:
        def hook(network: nn.Module, args: tuple, kwargs: dict, output: Any) -> Any:
            if self._record is None or network is not self.players.networks[player]:
                return None
            call = self._record.of(player)[-1]
            call.completed = True
            before = tensors_in(call.inputs)
            call.input_overwritten = any(
                _changed(old, new)
                for old, new in zip(before, tensors_in((args, kwargs)), strict=False)
            )
            tensors = [t for t in tensors_in(output) if t.is_floating_point()]
            call.output_has_graph = any(tensor.requires_grad for tensor in tensors)
            if player == GENERATOR:
                self._emitted(call, output, tensors)
                return None
            return self._scored(call, output)

        return hook

    def _emitted(self, call: Call, output: Any, tensors: Sequence[Tensor]) -> None:
        updates = self.ledger.generator_updates
        self.origins.mark(output, updates)
        self._remembered += [(t.detach().clone(), updates) for t in tensors if t.dim()]
        del self._remembered[:-_MEMORY]
        graph = [t for t in tensors if t.requires_grad]
        # What is a view of a weight changes when the optimizer steps, as it should.
        weights = {address(p) for p in self.players.of(GENERATOR).values()}
        fresh = [t for t in graph if address(t) not in weights]
        kept = [(t, t.detach().clone(), t.grad_fn) for t in fresh]
        self._emissions.append((call, kept))
        if len(graph) == 1:
            graph[0].register_hook(self._add_to(call, "pull"))

    def _scored(self, call: Call, output: Any) -> Any:
        scores = next((t for t in tensors_in(output) if t.is_floating_point()), None)
        if scores is None or not _one_per_sample(scores, len(call.births)):
            return None
        call.scores = scores.detach().clone()
        seen = self._altered(scores)
        if seen.requires_grad:
            seen.register_hook(self._add_to(call, "slopes"))
        return mapped(lambda tensor: seen if tensor is scores else tensor, output)

    def _altered(self, scores: Tensor) -> Tensor:
        """The scores as the intervention wants them; themselves without one."""
        if self.intervention.cut:
            return scores.detach().requires_grad_()
        if self.intervention.score is None:
            return scores
        return scores + (self.intervention.score - scores).detach()

    def _add_to(self, call: Call, field: str) -> Any:
        def hook(gradient: Tensor) -> None:
            if self._record is None or self._penalising:
                return
            earlier = getattr(call, field)
            arrived = gradient.detach().clone()
            setattr(call, field, arrived if earlier is None else earlier + arrived)

        return hook

    def _look_for_overwritten_emissions(self) -> None:
        for call, kept in self._emissions:
            call.output_overwritten = any(
                tensor.grad_fn is origin and _changed(tensor.detach(), value)
                for tensor, value, origin in kept
            )
        self._emissions = []


def _changed(now: Tensor, before: Tensor) -> bool:
    return now.shape != before.shape or bool(differs(now, before).any())


def _one_per_sample(scores: Tensor, rows: int) -> bool:
    if not scores.dim() or len(scores) != rows:
        return False
    return scores.dim() < 2 or scores.shape[1] == 1
