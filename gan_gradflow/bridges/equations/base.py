"""What an equation between the networks supplies.

A sample of the generator is an x, and the critic sees a function of the y with

    F(y, x) = 0,

as many equations as unknowns for each sample. How y is found is nobody's business: the
gradient needs products with F's Jacobians at the solution and nothing else. Unknowns
that the critic does not see (multipliers, potentials) belong to y all the same.
"""

from abc import ABC, abstractmethod

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from gan_gradflow.bridges.base import rows


class SolutionError(RuntimeError):
    """A solver did not find a solution, or what it returned is not one."""


class Equation(nn.Module, ABC):
    """F(y, x) = 0, applied to each sample of a batch on its own.

    A module, for F may have parameters; they get their gradient -(dF/dtheta)^T u.
    """

    @abstractmethod
    def residual(
        self, y: Float[Tensor, "batch *unknown"], x: Float[Tensor, "batch *event"]
    ) -> Float[Tensor, "batch *equations"]:
        """F(y, x): differentiable, without an effect of one sample on another."""

    @abstractmethod
    def solve(
        self, x: Float[Tensor, "batch *event"]
    ) -> Float[Tensor, "batch *unknown"] | np.ndarray:
        """A y with F(y, x) = 0; called without a graph, so by whatever means."""

    def samples(
        self,
        y: Float[Tensor, "batch *unknown"],
        x: Float[Tensor, "batch *event"],  # noqa: ARG002
    ) -> Float[Tensor, "batch *sample"]:
        """What the critic sees: y itself, unless an equation says otherwise."""
        return y


def relative_residual(
    residual: Float[Tensor, "batch *equations"], y: Float[Tensor, "batch *unknown"]
) -> Float[Tensor, " batch"]:
    """max |F| for each sample, over max |y| where that is above 1."""
    size = rows(y.detach()).abs().amax(1).clamp(min=1)
    return rows(residual.detach()).abs().amax(1) / size


def precision(dtype: torch.dtype) -> float:
    """The relative residual to which a solver of this package goes: 1e-5 or 1e-10."""
    return 1e-10 if dtype == torch.float64 else 1e-5
