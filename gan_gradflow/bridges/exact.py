"""Backpropagation: the pull is the gradient of the critic's loss itself.

For a tensor emission x, pull = d loss / d x. For a distribution with reparameterised
draws x = g(parameters, noise), the pathwise gradient through one draw.
"""

from jaxtyping import Float
from torch import Tensor

from gan_gradflow.bridges.base import GradientBridge, Traits, pathwise
from gan_gradflow.critic import Critic
from gan_gradflow.types import Access, Emission


class ExactBridge(GradientBridge):
    """Autograd passes from the critic to the emission; one query per sample.

    Choose it whenever the critic can be differentiated: nothing is cheaper, and every
    other bridge is measured against it.
    """

    traits = Traits(
        choose_when="the critic can be differentiated: nothing is cheaper",
        access=Access.GRADIENT,
        deterministic=True,
        unbiased_for="the gradient itself",
        queries="1",
        crosses="samples",
        returns="d loss / d samples",
        per_sample=False,
    )

    def estimate(
        self, critic: Critic, emission: Emission
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """The losses, which are their own proxy."""
        losses = critic(pathwise(emission, self))
        return losses, losses

    def queries_per_sample(self, dim: int) -> int:  # noqa: ARG002
        """One, whatever the dimension."""
        return 1
