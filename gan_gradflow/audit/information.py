"""What crossed the boundary each way, and proof that nothing else did.

The discriminator's side is entered through three doors: its loss on reals and exposed
fakes, the generator's losses that a critic answers with, and its scores. Every tensor that
comes in by a door is kept, and every gradient that goes out. Two proofs say what did not:

* **by memory**: while the side computes, the operands of every operation are noted by the
  memory that they lie in. None may lie where the latents, the generator's weights or, if
  the bridge holds them back, the raw samples do.
* **by value**: no row that came in holds a latent, a weight tensor or such a sample as a
  whole, so that a copy is found as well.

A bridge lets raw samples cross if what it exposes has them in it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gan_gradflow.audit.findings import Finding, finding
from gan_gradflow.audit.nesting import tensors_in
from gan_gradflow.audit.own_round import Seen, own_steps
from gan_gradflow.audit.players import DISCRIMINATOR, GENERATOR
from gan_gradflow.audit.records import address
from gan_gradflow.audit.report import INFORMATION, Table
from gan_gradflow.modules.adversarial import AdversarialModule
from gan_gradflow.types import Access

_DOORS = {  # method: (what its arguments are, what it answers with)
    "loss": (("reals", "exposed fakes", "classes"), "loss"),
    "generator_losses": (("samples", "context", "context"), "losses"),
    "forward": (("samples", "classes"), "scores"),
}
_LATENTS, _WEIGHTS, _SAMPLES = "latents", "generator weights", "raw samples"
_CODES = {
    _LATENTS: "latents-crossed",
    _WEIGHTS: "weights-crossed",
    _SAMPLES: "samples-crossed",
}
_TELLING = 8  # distinct numbers that a weight tensor needs to be recognised by value


@dataclass(frozen=True)
class Crossing:
    """One tensor that crossed; `inward` is towards the discriminator."""

    phase: str
    inward: bool
    what: str
    tensor: Tensor


@dataclass
class Secret:
    """Tensors that are not to cross, and how often they did."""

    name: str
    tensors: list[Tensor] = field(default_factory=list)
    may_cross: bool = False
    reads: int = 0
    copies: int = 0


@dataclass
class Boundary:
    """Everything seen at the boundary in one round."""

    crossings: list[Crossing] = field(default_factory=list)
    secrets: list[Secret] = field(default_factory=list)
    access: Access = Access.GRADIENT


def watch_boundary(
    module: AdversarialModule,
    seen: Seen,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> Boundary:
    """Play one round of a copy of this module, and note what crosses.

    Args:
        module: a copy of which is meant to be changed.
        seen: one batch.
        autocast: the context in which training runs.
    """
    watcher = _Watcher(module, seen.latents)
    steps = own_steps(module, module.configure_optimizers()[0], autocast)
    for phase, step in zip((DISCRIMINATOR, GENERATOR), steps, strict=True):
        watcher.phase = phase
        step(seen)
    return watcher.boundary()


class _Reader(TorchDispatchMode):
    """Counts, while it is entered, the operands that lie in memory of secrets.

    Only of secrets that exist when they are read: an address is used again later.
    """

    def __init__(self) -> None:
        super().__init__()
        self._owners: dict[int, Secret] = {}

    def guard(self, secret: Secret, tensors: Sequence[Tensor]) -> None:
        """Count from now on who reads these tensors, which `secret` keeps alive."""
        secret.tensors += tensors
        self._owners |= {address(tensor): secret for tensor in tensors}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        for tensor in tensors_in((args, kwargs or {})):
            owner = self._owners.get(address(tensor))
            if owner is not None:
                owner.reads += 1
        return func(*args, **(kwargs or {}))


class _Watcher:
    """Stands at the doors of the discriminator's side of one module."""

    def __init__(self, module: AdversarialModule, latents: Tensor) -> None:
        self.module = module
        self.phase = DISCRIMINATOR
        self.crossings: list[Crossing] = []
        self.latents, self.weights, self.samples = (Secret(name) for name in _CODES)
        self._reader = _Reader()
        self._reader.guard(self.latents, [latents])
        self._reader.guard(self.weights, _weights(module))
        self._emitted: list[Any] = []
        self._inside = False
        module.generator.network.register_forward_hook(self._emit)
        for door, (names, answer) in _DOORS.items():
            method = getattr(module.discriminator, door)
            setattr(module.discriminator, door, self._at(method, names, answer))

    def boundary(self) -> Boundary:
        """What was seen, with the tensors that were to be kept apart."""
        secrets = [self.latents, self.weights, self.samples]
        self.samples.may_cross = self._samples_may_cross()
        inward = [c.tensor for c in self.crossings if c.inward]
        for secret in secrets:
            secret.copies = _copies(secret, inward)
        return Boundary(self.crossings, secrets, self.module.critic.access)

    def _emit(self, network: Any, args: Any, output: Any) -> None:  # noqa: ARG002
        self._emitted.append(output)
        emitted = [t for t in tensors_in(output) if t.is_floating_point()]
        self._reader.guard(self.samples, emitted)

    def _samples_may_cross(self) -> bool:
        emission = self._emitted[-1]
        if not isinstance(emission, Tensor):
            return True  # draws are all that there is of them
        exposed = self.module.bridge.exposed(emission)
        return exposed.shape == emission.shape and bool((exposed == emission).any())

    def _at(self, method: Any, names: Sequence[str], answer: str) -> Any:
        def door(*args: Any) -> Any:
            if self._inside:
                return method(*args)
            for name, tensor in zip(names, args, strict=False):
                if isinstance(tensor, Tensor):
                    self._note(name, tensor, inward=True)
                    if tensor.requires_grad and self.phase == GENERATOR:
                        tensor.register_hook(self._returned(f"d {answer} / d {name}"))
            self._inside = True
            try:
                with self._reader:
                    answered = method(*args)
            finally:
                self._inside = False
            if self.phase == GENERATOR:
                self._note(answer, answered, inward=False)
            return answered

        return door

    def _note(self, what: str, tensor: Tensor, inward: bool) -> None:
        self.crossings.append(
            Crossing(self.phase, inward, what, tensor.detach().clone())
        )

    def _returned(self, what: str) -> Callable[[Tensor], None]:
        return lambda gradient: self._note(what, gradient, inward=False)


def _weights(module: AdversarialModule) -> list[Tensor]:
    generator = module.generator
    tensors = [*generator.parameters(), *generator.buffers()]
    return [t for t in tensors if t.is_floating_point() and t.numel() > 1]


def _copies(secret: Secret, inward: Sequence[Tensor]) -> int:
    """How many secret rows (or whole weight tensors) stand in something that came in."""
    if secret.name == _WEIGHTS:
        kept = [t.detach().reshape(1, -1) for t in secret.tensors]
        kept = [t for t in kept if len(t.unique()) >= _TELLING]
    else:
        kept = [t.detach().reshape(-1, t.shape[-1]) for t in secret.tensors]
        if secret.name == _SAMPLES:
            kept = [t.detach().flatten(1) for t in secret.tensors]
    return sum(_contained(rows, came) for rows in kept for came in inward)


def _contained(rows: Float[Tensor, "rows n"], came: Tensor) -> int:
    """How many of these rows stand, whole, somewhere in a row of what came in."""
    hay = came.reshape(len(came), -1) if came.dim() > 1 else came.reshape(1, -1)
    width = rows.shape[1]
    if hay.shape[1] < width or width < 2:
        return 0
    rows, found = rows.to(hay), set()
    starts = hay[:, : hay.shape[1] - width + 1]
    for where in torch.isin(starts, rows[:, 0]).nonzero():
        line, start = where.tolist()
        window = hay[line, start : start + width]
        found.update((rows == window).all(1).nonzero().flatten().tolist())
    return len(found)


def check_information(boundary: Boundary) -> Iterator[Finding]:
    """Findings on what crossed and was not to."""
    for secret in boundary.secrets:
        seen = secret.reads + secret.copies
        if seen and not secret.may_cross:
            yield finding(
                _CODES[secret.name],
                "generator",
                f"the discriminator's side read {secret.name} {secret.reads} times and "
                f"got {secret.copies} copies",
            )
    returned = [
        c for c in boundary.crossings if not c.inward and c.what.startswith("d ")
    ]
    if returned and boundary.access is Access.SCORES:
        yield finding(
            "gradient-came-back",
            "generator",
            f"the critic grants scores only, and {len(returned)} gradients came back",
        )


def information_tables(
    boundary: Boundary, reals: Tensor, findings: Sequence[Finding]
) -> list[Table]:
    """What crossed, summed up by kind, and what was kept apart."""
    samples = next(s for s in boundary.secrets if s.name == _SAMPLES)
    kinds: dict[tuple[str, str, str], list[Tensor]] = {}
    for crossing in boundary.crossings:
        way = "to the discriminator" if crossing.inward else "back"
        kinds.setdefault((crossing.phase, way, crossing.what), []).append(
            crossing.tensor
        )
    rows = [
        (*kind, _sizes(tensors), _seen_as(kind, tensors, reals, samples.tensors), "")
        for kind, tensors in kinds.items()
    ]
    columns = ("phase", "way", "what", "size", "seen as", "finding")
    crossed = Table("What crossed", columns, tuple(rows), INFORMATION)
    codes = {f.code for f in findings}
    apart = [
        (
            secret.name,
            len(secret.tensors),
            "may cross" if secret.may_cross else "kept apart",
            secret.reads,
            secret.copies,
            _CODES[secret.name] if _CODES[secret.name] in codes else "",
        )
        for secret in boundary.secrets
    ]
    columns = ("what", "tensors", "expected", "reads", "copies that crossed", "finding")
    sought = Table("Looked for on the other side", columns, tuple(apart), INFORMATION)
    return [crossed, sought]


def _sizes(tensors: Sequence[Tensor]) -> str:
    first = tensors[0]
    count = sum(len(t) if t.dim() else 1 for t in tensors)
    event = " x ".join(map(str, first.shape[1:]))
    return f"{count} of {event}" if event else f"{count} numbers"


def _seen_as(
    kind: tuple[str, str, str],
    tensors: Sequence[Tensor],
    reals: Tensor,
    emissions: Sequence[Tensor],
) -> str:
    """Rows told apart by value: reals, raw samples, or neither."""
    _, way, what = kind
    if way == "back" or what in ("classes", "context"):
        return "gradients" if what.startswith("d ") else "numbers"
    # In float64, which holds every float and every token as it is.
    came = torch.cat([t.flatten(1) for t in tensors]).double()
    known = {"reals": [reals], "raw samples": emissions}
    left, told = torch.ones(len(came), dtype=torch.bool), []
    for name, several in known.items():
        flat = [t.detach().flatten(1).double() for t in several if t.dim() > 1]
        fitting = [t for t in flat if t.shape[1] == came.shape[1]]
        if not fitting:
            continue
        same = torch.cdist(came, torch.cat(fitting), compute_mode=_EXACT).amin(1) == 0
        told += (
            [f"{int((same & left).sum())} {name}"] if bool((same & left).any()) else []
        )
        left &= ~same
    if bool(left.any()):
        told.append(f"{int(left.sum())} others")
    return ", ".join(told)


_EXACT = "donot_use_mm_for_euclid_dist"
