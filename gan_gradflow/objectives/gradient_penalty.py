"""The gradient penalty of WGAN-GP: slope one between reals and fakes.

    weight * mean_i (|grad_x D(x_i)| - 1)^2,   x_i = e_i real_i + (1 - e_i) fake_i

with e_i uniform on [0, 1], drawn anew for each pair.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.objectives.penalties import Penalty


class GradientPenalty(Penalty):
    """Keeps the discriminator near 1-Lipschitz; choose it with the Wasserstein loss.

    Costs a forward at the interpolates, a backward and a second one through that.
    Samples must not see each other (no batch norm). Gulrajani et al., NeurIPS 2017.

    Args:
        weight: the factor, lambda in the paper.

    Raises:
        ValueError: `weight` is negative.
    """

    on_reals = False
    on_fakes = False

    def __init__(self, weight: float) -> None:
        if not weight >= 0:
            raise ValueError(
                f"weight must not be negative, got {weight}; the paper uses 10.0"
            )
        self.weight = weight

    def __call__(
        self,
        discriminator: Callable[[Tensor], Tensor],
        reals: Float[Tensor, "n *event"],
        fakes: Float[Tensor, "n *event"],
        real_scores: Float[Tensor, " scores"],  # noqa: ARG002
        fake_scores: Float[Tensor, " scores"],  # noqa: ARG002
    ) -> Float[Tensor, ""]:
        """The mean squared distance of the slopes from one, times the weight."""
        num = len(reals) * self.processes.size
        shares = torch.rand(num, dtype=reals.dtype, device=reals.device)
        shares = self.processes.own(shares).view(-1, *[1] * (reals.ndim - 1))
        points = torch.lerp(fakes.detach(), reals.detach(), shares).requires_grad_()
        scores = discriminator(points)
        (gradients,) = torch.autograd.grad(scores.sum(), points, create_graph=True)
        slopes = torch.linalg.vector_norm(gradients.reshape(len(scores), -1), dim=1)
        return self.weight * (slopes - 1).square().mean()
