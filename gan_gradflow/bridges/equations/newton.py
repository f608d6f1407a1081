"""Newton's method with a line search, for a residual F known by its products.

    y <- y + t s,    dF/dy s = -F,

where the step s comes from GMRES and t is halved, for each sample on its own, until |F|
falls. Quadratic convergence near a solution; a sample that has arrived stays put.
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from gan_gradflow.bridges.adjoint.base import norms
from gan_gradflow.bridges.adjoint.gmres import GMRESAdjoint
from gan_gradflow.bridges.adjoint.linear_systems import LinearSystem
from gan_gradflow.bridges.equations.base import (
    SolutionError,
    precision,
    relative_residual,
)

_HALVINGS = 20


def newton(
    residual: Callable[[Tensor], Tensor],
    start: Float[Tensor, "batch dim"],
    max_steps: int,
    symmetric: bool,
) -> Float[Tensor, "batch dim"]:
    """A root of `residual`, a function `[batch, dim] -> [batch, dim]`, from `start`.

    A product with dF/dy takes two backward passes, with its transpose one: say if it is
    `symmetric`.

    Raises:
        SolutionError: some sample has no root after `max_steps` steps.
    """
    linear = GMRESAdjoint(tolerance=None, max_steps=200, on_failure="warn", restart=50)
    y, target = start, precision(start.dtype)
    value = residual(y)
    for _ in range(max_steps):
        wanting = ~(relative_residual(value, y) <= target)
        if not bool(wanting.any()):
            return y
        jacobian = LinearSystem.jacobian(residual, y)
        step, _ = linear.attempt(jacobian.transpose if symmetric else jacobian, -value)
        y, value = _search(residual, y, value, step.where(wanting.unsqueeze(1), 0))
    left = relative_residual(value, y)
    failed = int((~(left <= target)).sum())
    if failed:
        raise SolutionError(
            f"Newton's method has not solved {failed} of {len(y)} samples after "
            f"{max_steps} steps: the largest residual is {float(left.max()):.1e}; raise "
            "max_steps, or see whether a solution exists near these samples"
        )
    return y


def _search(
    residual: Callable[[Tensor], Tensor], y: Tensor, value: Tensor, step: Tensor
) -> tuple[Tensor, Tensor]:
    size, before = y.new_ones(len(y), 1), norms(value)
    for _ in range(_HALVINGS):
        trial = y + size * step
        tried = residual(trial)
        worse = ~(norms(tried) <= before)
        if not bool(worse.any()):
            break
        size = size.where(~worse.unsqueeze(1), size / 2)
    return trial, tried
