"""The networks are joined by an equation, and the critic sees its solution.

For an emission x and an equation F(y, x) = 0 the critic scores y, however y was found.
The solution moves with x as  dy/dx = -(dF/dy)^-1 dF/dx,  so for a loss L(y)

    pull = -(dF/dx)^T u    with    (dF/dy)^T u = dL/dy,

one linear system for each sample and no derivative of the solver. Parameters theta of F
get -(dF/dtheta)^T u. In code, for a solution y without a graph,

    y - (F(y, x) - stop_gradient(F(y, x)))

has the value y and the gradient -dF/dx; a node behind it is the identity, whose backward
pass turns the gradient g that arrives into the solution u of (dF/dy)^T u = g. The losses
are then functions of x like any other, their own proxy, and a critic that couples the
samples of a batch is served as well. The node has no second derivative, and says so.

Treating y as independent of x is the mistake to avoid: on x^2 + y^2 = 5 at (1, 2) the
loss y^2 has the derivative -2 in x, not 0.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gan_gradflow.bridges.adjoint.base import AdjointReport, AdjointSolver
from gan_gradflow.bridges.adjoint.linear_systems import LinearSystem
from gan_gradflow.bridges.base import GradientBridge, Traits, pathwise, rows, wide
from gan_gradflow.bridges.equations.base import (
    Equation,
    SolutionError,
    relative_residual,
)
from gan_gradflow.critic import Critic
from gan_gradflow.types import Access, Emission

_RESIDUAL_TOLERANCES = {torch.float32: 1e-4, torch.float64: 1e-7}


class ImplicitBridge(GradientBridge):
    """The exact gradient through an equation that anybody's solver solved.

    Costs one query per sample, one evaluation of F in the forward pass and a few
    vector-Jacobian products with it in the backward pass, as many as the adjoint solver
    takes; memory does not depend on the solver. Choose it where samples are the solution
    of an equation: a projection onto a conservation law, an equilibrium, a simulator's
    steady state. Low precision is raised to float32 for the equation. Blondel et al.,
    NeurIPS 2022; Griewank and Walther, Evaluating Derivatives, 2008, chapter 15.

    Parameters of the equation are `bridge.parameters()`; they learn only if an optimizer
    has them.

    Args:
        equation: F, its solver, and what of the solution the critic sees.
        adjoint: the solver of the linear system; `report` tells how its last solve went.
        residual_tolerance: the largest |F(y, x)| to accept of a solution, over the
            largest |y| where that is above 1; None for 1e-4 in float32 and 1e-7 in
            float64.

    Raises:
        ValueError: `residual_tolerance` is not positive.
    """

    traits = Traits(
        choose_when="samples solve an equation, whoever's solver finds them",
        access=Access.GRADIENT,
        deterministic=True,
        unbiased_for="the gradient itself, whatever solver found the solution",
        queries="1",
        crosses="the solution y of an equation F(y, x) = 0",
        returns="d loss / d y, from which the adjoint solution follows",
        per_sample=False,
        any_emission=False,
    )

    def __init__(
        self,
        equation: Equation,
        adjoint: AdjointSolver,
        residual_tolerance: float | None,
    ) -> None:
        super().__init__()
        if residual_tolerance is not None and not residual_tolerance > 0:
            raise ValueError(
                f"residual_tolerance must be positive, got {residual_tolerance}; try "
                "1e-4 for float32, or null to choose by dtype"
            )
        self.equation = equation
        self.adjoint = adjoint
        self.residual_tolerance = residual_tolerance

    @property
    def report(self) -> AdjointReport | None:
        """How the last adjoint solve went; None before the first."""
        return self.adjoint.report

    @torch.compiler.disable  # a solver is anybody's code; a compiled critic stays so
    def forward(self, critic: Critic, emission: Emission) -> Float[Tensor, " batch"]:
        """The losses at the solution, with the gradient through the equation."""
        return super().forward(critic, emission)

    def estimate(
        self, critic: Critic, emission: Emission
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """The losses at the solution, which are their own proxy.

        Raises:
            SolutionError: the solver's answer does not solve the equation.
            ValueError: shapes do not fit.
        """
        losses = critic(self.solved(pathwise(emission, self)))
        return losses, losses

    def figures(self) -> dict[str, float]:
        """This process's adjoint systems that were left unsolved, since the start."""
        return {"unconverged": float(self.adjoint.unconverged)}

    def queries_per_sample(self, dim: int) -> int:  # noqa: ARG002
        """One, whatever the dimension."""
        return 1

    @torch.no_grad()
    def samples(self, emission: Emission) -> Tensor:
        """What the critic sees of the solution; the emission itself does not cross."""
        return self.solved(pathwise(emission, self))

    def generator_parameters(self) -> Iterator[nn.Parameter]:
        """The equation's own, such as an equilibrium layer's weights."""
        return self.equation.parameters()

    def solved(self, emission: Tensor) -> Float[Tensor, "batch *sample"]:
        """What the critic sees of the solution, with the graph to the emission.

        Raises:
            SolutionError: the solver's answer does not solve the equation.
        """
        with _full_precision(emission) as x:
            y = self._solution(x)
            return self.equation.samples(y, x).to(emission.dtype)

    def _solution(self, x: Tensor) -> Float[Tensor, "batch *unknown"]:
        bad = int((~rows(x).isfinite().all(1)).sum())
        if bad:
            raise SolutionError(
                f"{bad} of {len(x)} samples of the emission are NaN or infinite"
            )
        y = self._solved(x.detach())
        residual = self.equation.residual(y, x)
        self._check_residual(y, residual)

        # The value of y, with the gradient -dF/dx (and -dF/dtheta) behind the adjoint.
        moving = rows(y) - (rows(residual) - rows(residual.detach()))
        return _Adjoint.apply(moving, self._adjoint(y, x.detach())).reshape(y.shape)

    def _adjoint(self, y: Tensor, x: Tensor) -> Callable[[Tensor], Tensor]:
        """The map from g to the solution u of (dF/dy)^T u = g, at a solution y."""

        def residual(flat: Tensor) -> Tensor:
            return rows(self.equation.residual(flat.reshape(y.shape), x))

        @torch.no_grad()
        def adjoint(gradient: Tensor) -> Tensor:
            with torch.autocast(x.device.type, enabled=False):
                jacobian = LinearSystem.jacobian(residual, rows(y))
                return self.adjoint.solve(jacobian.transpose, gradient)

        return adjoint

    @torch.no_grad()
    def _solved(self, x: Tensor) -> Tensor:
        # Copies: neither side may write to what the other keeps.
        found = self.equation.solve(x.clone())
        y = torch.as_tensor(found, dtype=x.dtype, device=x.device).clone()
        if y.ndim == 0 or len(y) != len(x):
            raise ValueError(
                f"{type(self.equation).__name__} solved a batch of {len(x)} by a y of "
                f"shape {list(y.shape)}; it must be [{len(x)}, *unknown]"
            )
        return y

    def _check_residual(self, y: Tensor, residual: Tensor) -> None:
        name = type(self.equation).__name__
        if residual.shape[:1] != y.shape[:1] or residual.numel() != y.numel():
            raise ValueError(
                f"{name} has a residual of shape {list(residual.shape)} for a y of shape "
                f"{list(y.shape)}; it must have as many equations as unknowns, for each "
                "sample"
            )
        tolerance = self.residual_tolerance
        if tolerance is None:
            tolerance = _RESIDUAL_TOLERANCES[y.dtype]
        left = relative_residual(residual, y)
        failed = int((~(left <= tolerance)).sum())
        if failed:
            raise SolutionError(
                f"{name}'s solver does not solve F(y, x) = 0 for {failed} of {len(y)} "
                f"samples: the largest residual is {float(left.max()):.1e}, the residual "
                f"tolerance {tolerance:.1e}; solve more precisely, see that F and the "
                "solver belong together, or raise residual_tolerance"
            )


class _Adjoint(torch.autograd.Function):
    """The identity on a solution; backward, the adjoint solution of the gradient.

    No ordinary operation has a linear system's solution as its gradient. The form with
    `setup_context` lets `torch.func.grad` pass.
    """

    @staticmethod
    def forward(y: Tensor, adjoint: Callable[[Tensor], Tensor]) -> Tensor:  # noqa: ARG004
        return y.view_as(y)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.adjoint = inputs[1]
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (y,) = ctx.saved_tensors
        return _Once.apply(ctx.adjoint(gradient), gradient, y), None


class _Once(torch.autograd.Function):
    """The adjoint solution u, which varies with g and y in a way that is not followed."""

    @staticmethod
    def forward(u: Tensor, gradient: Tensor, y: Tensor) -> Tensor:  # noqa: ARG004
        return u.view_as(u)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # noqa: ARG004
        raise RuntimeError(
            "ImplicitBridge has a first derivative only; take a penalty on gradients "
            "from the critic, at the samples that the bridge exposes"
        )


@contextlib.contextmanager
def _full_precision(emission: Tensor) -> Iterator[Tensor]:
    """The emission in float32 at least, where autocast is off and autograd is possible.

    Solvers differentiate on their own account, which inference mode forbids.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.autocast(emission.device.type, enabled=False))
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.no_grad())
            emission = emission.clone()
        yield wide(emission)
