"""What was seen while one phase ran once: plain data, judged elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gan_gradflow.audit.origins import NOT_FAKE


@dataclass(frozen=True)
class Deposit:
    """A gradient that lies in `.grad`: whose phase left it, and was it used since."""

    phase: str
    stepped: bool


@dataclass
class Call:
    """One forward pass of one player, called as a whole.

    `births` holds the origin of each row of the inputs, and `derived` whether they depend
    on an emission in any way (see `origins.py`); `scores` is the
    discriminator's output per sample where it is one number (or one map of numbers) per
    sample, and `slopes` the gradient of the loss with respect to them.
    """

    player: str
    graph_enabled: bool
    training: bool
    frozen: bool
    births: Tensor
    derived: bool
    inputs: tuple[Any, dict[str, Any]]
    input_has_graph: bool
    completed: bool = False
    input_overwritten: bool = False
    output_has_graph: bool = False
    output_overwritten: bool = False
    scores: Tensor | None = None
    slopes: Tensor | None = None
    pull: Tensor | None = None

    @property
    def is_fake(self) -> Tensor:
        """Which rows of the inputs the generator emitted."""
        return self.births != NOT_FAKE


@dataclass
class PhaseRecord:
    """One run of one player's step function.

    Dictionaries are keyed by parameter or buffer name. `received` sums the gradients
    that `backward` brought in this phase, `computed` holds those of `autograd.grad`,
    `used` those that the optimizer saw, and `update` what optimizers changed; `outside`
    is every other change of a parameter.
    """

    phase: str
    generator_updates: int
    error: Exception | None = None
    loss: float | None = None
    roots: list[float] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    required: set[str] = field(default_factory=set)
    ran: set[str] = field(default_factory=set)
    ran_training: set[str] = field(default_factory=set)
    received: dict[str, Tensor] = field(default_factory=dict)
    used: dict[str, Tensor] = field(default_factory=dict)
    computed: dict[str | None, Tensor | None] = field(default_factory=dict)
    computed_roots: list[float] = field(default_factory=list)
    leftovers: dict[str, tuple[Deposit, ...]] = field(default_factory=dict)
    contaminated: dict[str, tuple[Deposit, ...]] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)
    update: dict[str, Tensor] = field(default_factory=dict)
    outside: dict[str, Tensor] = field(default_factory=dict)
    clipped: set[str] = field(default_factory=set)
    buffers: set[str] = field(default_factory=set)
    optimizers: list[Any] = field(default_factory=list)
    steps: int = 0
    stepped_before_backward: bool = False
    zeroed_before_step: bool = False
    edited_before_unscaling: set[str] = field(default_factory=set)
    edited_after_step: set[str] = field(default_factory=set)
    graphless_penalties: int = 0
    penalties: int = 0
    logits_from_sigmoid: bool = False
    autocast: bool = False
    active: dict[str, Tensor] = field(default_factory=dict)

    @property
    def root(self) -> float:
        """The sum of everything that `backward` started from."""
        return sum(self.roots, 0.0)

    def of(self, player: str) -> list[Call]:
        """The forward passes of one player."""
        return [call for call in self.calls if call.player == player]


@dataclass(frozen=True)
class Round:
    """One iteration: the discriminator's step and the generator's."""

    discriminator: PhaseRecord
    generator: PhaseRecord

    def __iter__(self) -> Iterator[PhaseRecord]:
        yield self.discriminator
        yield self.generator

    def phase(self, player: str) -> PhaseRecord:
        """The record of this player's own phase."""
        return self.discriminator if player == "discriminator" else self.generator


def asks_for_scores_only(record: PhaseRecord) -> bool:
    """Whether the discriminator was asked, and never with a graph."""
    asked = record.of("discriminator")
    return bool(asked) and not any(call.graph_enabled for call in asked)


def address(tensor: Tensor) -> int:
    """The memory that a tensor lies in, shared with its views; 0 if it has no elements."""
    return tensor.untyped_storage().data_ptr() if tensor.numel() else 0


def differs(left: Tensor, right: Tensor) -> Tensor:
    """Where two tensors of one shape differ; NaN is like NaN."""
    return ~torch.isclose(left, right, rtol=0.0, atol=0.0, equal_nan=True)


def inner(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    """The inner product of two vectors kept by parameter name; missing means zero."""
    products = (
        float(torch.dot(left[name].flatten().double(), right[name].flatten().double()))
        for name in left
        if name in right
    )
    return sum(products, 0.0)


def norm(vector: dict[str, Tensor]) -> float:
    """The Euclidean norm of a vector kept by parameter name."""
    return inner(vector, vector) ** 0.5
