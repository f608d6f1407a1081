"""Conjugate gradients on A^T A u = A^T b: from u = 0, r = b, s = p = A^T r,

    u <- u + a p,    r <- r - a A p,    a = <s, s> / <A p, A p>,
    s = A^T r,       p <- s + (<s, s> / <s, s> before) p.

The residual r of the system itself is carried along, which keeps its precision.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.bridges.adjoint.base import AdjointSolver, dot, norms
from gan_gradflow.bridges.adjoint.linear_systems import LinearSystem


class NormalEquationsAdjoint(AdjointSolver):
    """Conjugate gradients on A^T A u = A^T b: any system that is not singular.

    Two products a step, one of them a Jacobian-vector product, and three vectors of
    memory. It squares the condition number, so steps grow with the condition number
    itself instead of its root: choose it where GMRES runs out of memory, and only for
    well-conditioned systems. The least-squares form of Hestenes and Stiefel, 1952 (CGLS;
    Bjorck, Numerical Methods for Least Squares Problems, 1996, section 7.4).
    """

    advice = (
        "raise max_steps, or choose gmres: the condition number counts squared here"
    )

    def improve(
        self,
        system: LinearSystem,
        residual: Float[Tensor, "batch dim"],
        bound: Float[Tensor, " batch"],
        max_steps: int,
    ) -> tuple[Float[Tensor, "batch dim"], int]:
        """Conjugate gradients on the squared system, from zero."""
        solution = torch.zeros_like(residual)
        direction = gradient = system.apply_transposed(residual)
        square = dot(gradient, gradient)
        for steps in range(1, max_steps + 1):  # noqa: B007
            product = system.apply(direction)
            length = dot(product, product)
            active = (norms(residual) > bound) & (length > 0)
            rate = (square / length).where(active, 0).unsqueeze(1)
            solution = solution + rate * direction
            residual = residual - rate * product
            if not bool((active & (norms(residual) > bound)).any()):
                break
            gradient = system.apply_transposed(residual)
            last, square = square, dot(gradient, gradient)
            keep = (square / last).where(active, 0).unsqueeze(1)
            direction = gradient + keep * direction
        return solution, steps
