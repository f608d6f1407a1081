"""An equation: what arrives is the solution y of F(y, x) = 0.

The gradient is the implicit function theorem's, through an adjoint solve, whatever found
the solution. Equations, their solvers and the adjoint solvers are those of the implicit
bridge, which is handed in. With this channel any bridge works over an equation: `exact`
has its true gradient, and a bridge that asks for scores does not need it.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from gan_gradflow.channels.base import Channel, ChannelTraits


@runtime_checkable
class _Solution(Protocol):
    def solved(self, samples: Tensor) -> Tensor:
        """y(x), with the graph to x."""

    def figures(self) -> dict[str, float]:
        """What was counted of the work, by name."""


class ConstraintChannel(Channel):
    """Samples are moved to where they obey a law, such as the conservation of mass.

    Costs the equation's solver, and in a backward pass the adjoint solver. Parameters of
    the equation do not learn here; choose `bridge=implicit` where they are to.

    Args:
        solution: the equation with its solvers: a module that maps samples to solutions
            in `solved`, and counts its work in `figures`.
        on_reals: whether the discriminator sees reals after the equation as well.
        on_samples: whether samples are shown and judged after the equation.
    """

    traits = ChannelTraits(differentiable=True, deterministic=True)

    def __init__(self, solution: _Solution, on_reals: bool, on_samples: bool) -> None:
        super().__init__(on_reals, on_samples)
        self.solution = solution
        if isinstance(solution, nn.Module):
            solution.requires_grad_(False)

    def forward(
        self, samples: Float[Tensor, "n *event"]
    ) -> Float[Tensor, "n *received"]:
        """The solution for each sample."""
        return self.solution.solved(samples)

    def figures(self) -> dict[str, float]:
        """Those of the solution, such as adjoint systems that were left unsolved."""
        return self.solution.figures()
