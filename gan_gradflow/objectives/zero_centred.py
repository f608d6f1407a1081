"""Zero-centred gradient penalties: the discriminator should be flat where samples are.

    R1 = gamma / 2 * mean_i |grad_x D(x_i)|^2   over reals
    R2 = gamma / 2 * mean_i |grad_x D(x_i)|^2   over fakes

The gradients are those of the scores already computed, so a penalty costs one backward
through the discriminator and a second one through that, but no forward. The scores are
differentiated as a sum: samples must not see each other (no batch norm). Where a score is
that of a pack of samples, its gradient is that in all of them.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.objectives.penalties import Penalty


class _ZeroCentredPenalty(Penalty):
    def __init__(self, gamma: float) -> None:
        if not gamma >= 0:
            raise ValueError(
                f"gamma must not be negative, got {gamma}; try 1.0 for images, or "
                "penalty=none"
            )
        self.gamma = gamma

    def __call__(
        self,
        discriminator: Callable[[Tensor], Tensor],  # noqa: ARG002
        reals: Float[Tensor, "n *event"],
        fakes: Float[Tensor, "n *event"],
        real_scores: Float[Tensor, " scores"],
        fake_scores: Float[Tensor, " scores"],
    ) -> Float[Tensor, ""]:
        """gamma / 2 times the mean squared gradient on each kind of sample it names."""
        penalty = real_scores.new_zeros(())
        if self.on_reals:
            penalty = penalty + _mean_squared_gradient(real_scores, reals)
        if self.on_fakes:
            penalty = penalty + _mean_squared_gradient(fake_scores, fakes)
        return self.gamma / 2 * penalty


class R1Penalty(_ZeroCentredPenalty):
    """Flat at the reals: enough for local convergence. Mescheder et al., ICML 2018."""

    on_reals = True
    on_fakes = False


class R2Penalty(_ZeroCentredPenalty):
    """Flat at the fakes; seldom used without R1. Mescheder et al., ICML 2018."""

    on_reals = False
    on_fakes = True


class R1R2Penalty(_ZeroCentredPenalty):
    """Flat at both, with one gamma: the companion of the relativistic objective.

    Costs twice what R1 costs. Huang et al. (R3GAN), NeurIPS 2024.
    """

    on_reals = True
    on_fakes = True


def _mean_squared_gradient(scores: Tensor, samples: Tensor) -> Tensor:
    (gradients,) = torch.autograd.grad(scores.sum(), samples, create_graph=True)
    return gradients.square().sum() / len(scores)
