"""Solvers for the adjoint system of an equation between the networks.

An equation F(y, x) = 0 and a loss L(y) have the gradient

    dL/dx = -(dF/dx)^T u    with    (dF/dy)^T u = dL/dy.

A solver gets A = (dF/dy)^T by its products alone and finds u with |A u - b| <= tolerance
* |b| for each sample of the batch. Samples are solved side by side, and one that has
converged is left as it is, so the answer for a sample does not depend on its batch. In
the end the true residual is computed by one more product; a recursion that drifted away
from it is started again from there.
"""

import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gan_gradflow.bridges.adjoint.linear_systems import LinearSystem

_TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-10}
_ON_FAILURE = ("raise", "warn")


class AdjointError(RuntimeError):
    """The adjoint system is not one that the solver can solve, or was not solved."""


@dataclass(frozen=True)
class AdjointReport:
    """How the last solve went.

    Attributes:
        steps: steps taken.
        residual: the largest relative residual |A u - b| / |b| in the batch.
        unconverged: samples above the tolerance.
    """

    steps: int
    residual: float
    unconverged: int


class AdjointSolver(nn.Module, ABC):
    """Solves A u = b for each sample, and answers for the residual.

    Args:
        tolerance: the relative residual to reach; None for 1e-5 in float32 and 1e-10 in
            float64.
        max_steps: steps at most, for the whole batch.
        on_failure: "raise" an `AdjointError` when a sample has not converged (or its right
            side is not finite), or "warn" and go on with what was found; `unconverged`
            counts such samples either way. Mixed precision with loss scaling wants
            "warn": it expects gradients that overflow, and skips them.

    Attributes:
        report: how the last solve went; None before the first.
        unconverged: samples that were not solved since the start of the run, of the rows
            of this process.

    Raises:
        ValueError: an argument is out of range.
    """

    stands = ("_extra_state",)  # the count, if an iteration is undone
    advice = "raise max_steps, or choose dense"

    def __init__(
        self, tolerance: float | None, max_steps: int, on_failure: str
    ) -> None:
        super().__init__()
        if tolerance is not None and not 0 < tolerance < 1:
            raise ValueError(
                f"tolerance must lie between 0 and 1, got {tolerance}; try 1e-5 for "
                "float32, or null to choose by dtype"
            )
        if max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, got {max_steps}; try 100")
        if on_failure not in _ON_FAILURE:
            raise ValueError(
                f"on_failure must be one of {_ON_FAILURE}, got {on_failure!r}"
            )
        self.tolerance = tolerance
        self.max_steps = max_steps
        self.on_failure = on_failure
        self.report: AdjointReport | None = None
        self.unconverged = 0

    def solve(
        self, system: LinearSystem, rhs: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """The solution u of A u = rhs.

        Raises:
            AdjointError: the method does not apply to A, or with `on_failure="raise"`
                some sample has not converged.
        """
        solution, report = self.attempt(system, rhs)
        self.report = report
        self.unconverged += report.unconverged
        if report.unconverged:
            self._fail(report, len(rhs), tolerance_for(self.tolerance, rhs))
        return solution

    def attempt(
        self, system: LinearSystem, rhs: Float[Tensor, "batch dim"]
    ) -> tuple[Float[Tensor, "batch dim"], AdjointReport]:
        """The solution as far as it was found, and how far that is; never a failure."""
        norm = norms(rhs)
        bound = tolerance_for(self.tolerance, rhs) * norm
        self.check(system, rhs)
        solution, residual, steps = torch.zeros_like(rhs), rhs, 0
        while steps < self.max_steps and bool((norms(residual) > bound).any()):
            more, used = self.improve(system, residual, bound, self.max_steps - steps)
            solution = solution + more
            residual = rhs - system.apply(solution)
            steps += used
        # A right side that is not finite has no solution: say so, as autograd would.
        solution = solution.where(norm.isfinite().unsqueeze(1), torch.nan)
        relative = norms(residual) / norm.where(norm > 0, 1)
        solved = norm.isfinite() & (norms(residual) <= bound)
        unconverged = int((~solved).sum())
        return solution, AdjointReport(steps, float(relative.max()), unconverged)

    def get_extra_state(self) -> Tensor:
        """The count; `torch.func` would not let a buffer be changed."""
        return torch.tensor(self.unconverged)

    def set_extra_state(self, state: Tensor) -> None:
        """Go on counting."""
        self.unconverged = int(state)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *rest: Any
    ) -> None:
        # Checkpoints from before the count was kept have none.
        state_dict.setdefault(prefix + "_extra_state", self.get_extra_state())
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def check(self, system: LinearSystem, rhs: Float[Tensor, "batch dim"]) -> None:
        """Raise `AdjointError` if the method does not apply to this system."""

    @abstractmethod
    def improve(
        self,
        system: LinearSystem,
        residual: Float[Tensor, "batch dim"],
        bound: Float[Tensor, " batch"],
        max_steps: int,
    ) -> tuple[Float[Tensor, "batch dim"], int]:
        """An approximate solution of A u = residual, and the steps that it took.

        It may stop where |A u - residual| <= bound for each sample.
        """

    def _fail(self, report: AdjointReport, batch: int, tolerance: float) -> None:
        message = (
            f"{type(self).__name__}: {report.unconverged} of {batch} samples are not "
            f"solved after {report.steps} steps; the largest relative residual is "
            f"{report.residual:.1e}, the tolerance {tolerance:.1e}; {self.advice}"
        )
        if math.isnan(report.residual):
            message += " (the critic's gradient or a product with dF/dy is not finite)"
        if self.on_failure == "raise":
            raise AdjointError(message)
        warnings.warn(message, RuntimeWarning, stacklevel=3)


def tolerance_for(tolerance: float | None, like: Tensor) -> float:
    """The tolerance, or the default of the dtype."""
    return _TOLERANCES[like.dtype] if tolerance is None else tolerance


def dot(
    a: Float[Tensor, "batch dim"], b: Float[Tensor, "batch dim"]
) -> Float[Tensor, " batch"]:
    """The inner product for each sample."""
    return (a * b).sum(1)


def norms(vectors: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
    """The length of the vector of each sample."""
    return torch.linalg.vector_norm(vectors, dim=1)
