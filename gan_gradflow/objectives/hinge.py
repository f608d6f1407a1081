"""The hinge: scores beyond the margin teach the discriminator nothing.

    discriminator:  max(0, 1 - D(real)) + max(0, 1 + D(fake))
    generator:      -D(fake)

Both players' losses are piecewise linear in the scores.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import relu

from gan_gradflow.objectives.base import Objective


class HingeObjective(Objective):
    """Choose it with spectral norm, its usual companion.

    Lim and Ye, "Geometric GAN", 2017; Miyato et al., ICLR 2018.
    """

    paired = False

    def discriminator_losses(
        self, real_scores: Float[Tensor, " n"], fake_scores: Float[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """How far reals and fakes fall short of the margin."""
        return relu(1 - real_scores) + relu(1 + fake_scores)

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
        """-1 / 1 within the margin, -1 / 0 beyond."""
        return torch.where(fake_scores > -1, -1.0, -torch.inf).to(fake_scores)
