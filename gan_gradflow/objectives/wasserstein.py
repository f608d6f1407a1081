"""The Wasserstein-1 distance in its dual form, for a 1-Lipschitz discriminator.

    discriminator:  D(fake) - D(real)
    generator:      -D(fake)

At its best discriminator the first one's mean is minus the distance.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.objectives.base import Objective


class WassersteinObjective(Objective):
    """Unbounded below unless the discriminator is held Lipschitz.

    Choose it with the gradient penalty or spectral norm, and several discriminator
    updates for each of the generator's. Arjovsky et al., ICML 2017.
    """

    paired = False

    def discriminator_losses(
        self, real_scores: Float[Tensor, " n"], fake_scores: Float[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """How far fakes score above reals."""
        return fake_scores - real_scores

    def generator_losses(
        self,
        fake_scores: Float[Tensor, " n"],
        real_scores: Float[Tensor, " n"] | None,  # noqa: ARG002
    ) -> Float[Tensor, " n"]:
        """The negative score."""
        return -fake_scores

    def slope_ratios(
        self,
        fake_scores: Float[Tensor, " n"],
        real_scores: Float[Tensor, " n"],  # noqa: ARG002
    ) -> Float[Tensor, " n"]:
        """-1 / 1."""
        return -torch.ones_like(fake_scores)
