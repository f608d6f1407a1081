"""The critic: all that a bridge may ask of the other side.

A critic maps samples `[*queries, batch, *event]` to the generator's loss for each of
them, `[*queries, batch]`. Whoever asks, the questions are counted here, one for each
sample scored, a budget is enforced here, and large questions are cut into chunks here.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from gan_gradflow.processes import ALONE, Processes
from gan_gradflow.types import Access


class CriticError(RuntimeError):
    """The critic raised, or answered with something that is not a loss per sample."""


class NonFiniteScoresError(CriticError):
    """Scores are NaN or infinity, or the samples are whose scores were wanted."""


class BudgetExceededError(RuntimeError):
    """Answering would take more queries than the critic's budget has left."""


@dataclass
class _Meter:
    queries: int = 0


class Critic:
    """The generator's loss for each sample, seen through an access level.

    `function` maps samples `[n, *event]`, and the rows of every tensor in `context` that
    belong to them, `[n, ...]`, to losses `[n]`. With `Access.SCORES` it runs without a
    graph on detached samples, so it may be any Python callable or another process.

    Args:
        function: the loss of each sample; lower is better for the generator.
        context: tensors `[batch, ...]` that belong to the samples of a batch, such as
            labels or paired reals; they are repeated over the queries.
        access: what the bridge gets.
        budget: the largest number of queries this critic answers; None for no limit.
        chunk_size: the largest number of samples that `function` sees at once; None for
            all. It changes memory and speed, never the answer, if `function` treats
            samples independently.
        positions: `function` gives a loss for each of so many positions of a sample,
            `[n, positions]`; the sample's loss is their mean. None for one loss.

    Attributes:
        processes: those that ask together, each about its own rows of a batch; the
            queries of all of them are counted, and the budget is theirs.

    Raises:
        ValueError: `budget` or `chunk_size` is below 1.
        TypeError: `access` is not an `Access`.
    """

    processes: Processes = ALONE

    def __init__(
        self,
        function: Callable[..., Tensor],
        *,
        context: Sequence[Tensor] = (),
        access: Access = Access.GRADIENT,
        budget: int | None = None,
        chunk_size: int | None = None,
        positions: int | None = None,
    ) -> None:
        if not isinstance(access, Access):
            raise TypeError(f"access must be an Access, got {access!r}")
        for name, value in (("budget", budget), ("chunk_size", chunk_size)):
            if value is not None and value < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {value}; None (null) is no limit"
                )
        self.function = function
        self.context = tuple(context)
        self.access = access
        self.budget = budget
        self.chunk_size = chunk_size
        self.positions = positions
        self._whole = True
        self._meter = _Meter()

    @property
    def queries(self) -> int:
        """Samples scored so far."""
        return self._meter.queries

    @queries.setter
    def queries(self, queries: int) -> None:
        self._meter.queries = queries

    @classmethod
    def from_numpy(
        cls,
        function: Callable[[np.ndarray], Any],
        *,
        budget: int | None = None,
        chunk_size: int | None = None,
    ) -> "Critic":
        """A score-only critic from a NumPy function: `[n, *event]` to losses `[n]`.

        An answer that is not of real numbers raises a `CriticError`.
        """

        def scored(samples: Tensor) -> Tensor:
            # NumPy has no bfloat16, and discrete samples do not have discrete losses.
            dtype = torch.promote_types(samples.dtype, torch.float32)
            asked = samples.to(dtype) if samples.is_floating_point() else samples
            # Copies: neither side may write to what the other keeps.
            answer = function(asked.cpu().numpy().copy())
            losses = np.array(answer)
            if losses.dtype.kind not in "biuf":
                what = "None" if answer is None else f"an array of {losses.dtype}"
                raise CriticError(
                    f"the critic answered {len(samples)} samples with {what}; it must "
                    "return real numbers, one loss for each sample"
                )
            return torch.as_tensor(losses, dtype=dtype, device=samples.device)

        return cls(scored, access=Access.SCORES, budget=budget, chunk_size=chunk_size)

    def scores_only(self) -> "Critic":
        """This critic without its gradient; the two count their queries together."""
        view = copy.copy(self)
        view.access = Access.SCORES
        return view

    def at_each_position(
        self, samples: Shaped[Tensor, "..."], num_query_dims: int = 0
    ) -> Float[Tensor, "..."]:
        """Losses `[*queries, batch, positions]`; a sample counts as one query all the same.

        Raises:
            ValueError: there is one loss for each sample only.
        """
        if self.positions is None:
            raise ValueError(
                "this critic has one loss for each sample; choose a discriminator with "
                "a score for each position"
            )
        view = copy.copy(self)
        view._whole = False
        return view(samples, num_query_dims)

    def __call__(
        self, samples: Shaped[Tensor, "..."], num_query_dims: int = 0
    ) -> Float[Tensor, "..."]:
        """Losses `[*queries, batch]` of samples `[*queries, batch, *event]`.

        Args:
            samples: what is to be scored.
            num_query_dims: how many leading dimensions of `samples` are queries.

        Raises:
            BudgetExceededError: the budget does not cover these samples; nothing was
                asked.
            CriticError: `function` raised, or did not return one floating-point loss for
                each sample; with `Access.SCORES`, or returned a NaN or infinite one.
            ValueError: `context` does not belong to a batch of this size.
        """
        leading = samples.shape[: num_query_dims + 1]
        flat = samples.flatten(0, num_query_dims)
        context = [self._over_queries(tensor, leading) for tensor in self.context]
        self.spend(len(flat) * self.processes.size)
        if self.access is Access.SCORES:
            with torch.no_grad():
                losses = self._in_chunks(flat.detach(), context).detach()
            _check_finite(losses)
        else:
            losses = self._in_chunks(flat, context)
        if self.positions is not None and self._whole:
            losses = losses.mean(-1)
        return losses.unflatten(0, leading)

    def spend(self, queries: int) -> None:
        """Count queries, those asked elsewhere too.

        Raises:
            BudgetExceededError: the budget does not cover them.
        """
        if self.budget is not None and self.queries + queries > self.budget:
            raise BudgetExceededError(
                f"{queries} more queries would exceed the budget of {self.budget}, of "
                f"which {self.queries} are spent; raise the budget or ask for fewer"
            )
        self.queries += queries

    @staticmethod
    def _over_queries(tensor: Tensor, leading: torch.Size) -> Tensor:
        if len(tensor) != leading[-1]:
            raise ValueError(
                f"context has {len(tensor)} rows for a batch of {leading[-1]}; give one "
                "row for each sample of the batch"
            )
        return tensor.expand(*leading, *tensor.shape[1:]).flatten(0, len(leading) - 1)

    def _in_chunks(self, flat: Tensor, context: list[Tensor]) -> Tensor:
        if self.chunk_size is None or len(flat) <= self.chunk_size:
            return self._answer(flat, context)
        chunks = [tensor.split(self.chunk_size) for tensor in (flat, *context)]
        return torch.cat(
            [self._answer(c[0], list(c[1:])) for c in zip(*chunks, strict=True)]
        )

    def _answer(self, flat: Tensor, context: list[Tensor]) -> Tensor:
        try:
            losses = self.function(flat, *context)
        except CriticError:
            raise
        except Exception as error:
            raise CriticError(
                f"the critic raised {type(error).__name__}: {error}"
            ) from error
        positions = () if self.positions is None else (self.positions,)
        expected = (len(flat), *positions)
        if not isinstance(losses, Tensor) or losses.shape != expected:
            seen = list(losses.shape) if isinstance(losses, Tensor) else type(losses)
            raise CriticError(
                f"the critic answered {len(flat)} samples with {seen}; it must return a "
                f"tensor {list(expected)}, one loss for each sample"
                f"{' and position' if positions else ''}"
            )
        if not losses.is_floating_point():
            raise CriticError(
                f"the critic returned {losses.dtype} losses; convert them to floating "
                "point"
            )
        return losses


def _check_finite(scores: Float[Tensor, "samples *positions"]) -> None:
    if torch.compiler.is_compiling():
        return
    if (scores - scores).any():  # NaN for NaN and infinity, and zero for the rest
        bad = int((~scores.isfinite()).sum())
        raise NonFiniteScoresError(
            f"the critic returned {bad} NaN or infinite losses among {len(scores)}"
        )
