"""The contract of every penalty: a scalar added to the discriminator's mean loss.

A penalty that differentiates the scores of reals or fakes says so, because the caller
must then have called `requires_grad_()` on those samples before scoring them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from jaxtyping import Float, Shaped
from torch import Tensor

from gan_gradflow.processes import ALONE, Processes


class Penalty(ABC):
    """A term that keeps the discriminator smooth.

    Attributes:
        on_reals: differentiates `real_scores` with respect to `reals`.
        on_fakes: differentiates `fake_scores` with respect to `fakes`.
        differentiates_twice: its gradient is one of a gradient of the scores, which a
            compiled discriminator does not have.
        processes: those that share the batch, of which it is given one's rows.
    """

    processes: Processes = ALONE

    on_reals: ClassVar[bool]
    on_fakes: ClassVar[bool]
    differentiates_twice: ClassVar[bool] = True

    @abstractmethod
    def __call__(
        self,
        discriminator: Callable[[Tensor], Tensor],
        reals: Shaped[Tensor, "n *event"],
        fakes: Shaped[Tensor, "n *event"],
        real_scores: Float[Tensor, " scores"],
        fake_scores: Float[Tensor, " scores"],
    ) -> Float[Tensor, ""]:
        """The penalty, with a graph to the discriminator's parameters."""


class NoPenalty(Penalty):
    """Zero, at no cost."""

    on_reals = False
    on_fakes = False
    differentiates_twice = False

    def __call__(
        self,
        discriminator: Callable[[Tensor], Tensor],  # noqa: ARG002
        reals: Shaped[Tensor, "n *event"],  # noqa: ARG002
        fakes: Shaped[Tensor, "n *event"],  # noqa: ARG002
        real_scores: Float[Tensor, " scores"],
        fake_scores: Float[Tensor, " scores"],  # noqa: ARG002
    ) -> Float[Tensor, ""]:
        """Zero."""
        return real_scores.new_zeros(())
