"""Least squares towards the targets 1 (real) and 0 (fake).

    discriminator:  1/2 (D(real) - 1)^2 + 1/2 D(fake)^2
    generator:      1/2 (D(fake) - 1)^2

The best discriminator is p / (p + q) for densities p of reals and q of fakes.
"""

from jaxtyping import Float
from torch import Tensor

from gan_gradflow.objectives.base import Objective


class LeastSquaresObjective(Objective):
    """Choose it where fakes scored far from 1, on either side, should be drawn back.

    The generator's loss falls with the score only up to 1. Mao et al., ICCV 2017.
    """

    paired = False

    def discriminator_losses(
        self, real_scores: Float[Tensor, " n"], fake_scores: Float[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """Half the squared distance of reals to 1 and of fakes to 0."""
        return ((real_scores - 1).square() + fake_scores.square()) / 2

    def generator_losses(
        self,
        fake_scores: Float[Tensor, " n"],
        real_scores: Float[Tensor, " n"] | None,  # noqa: ARG002
    ) -> Float[Tensor, " n"]:
        """Half the squared distance of fakes to 1."""
        return (fake_scores - 1).square() / 2

    def slope_ratios(
        self,
        fake_scores: Float[Tensor, " n"],
        real_scores: Float[Tensor, " n"],  # noqa: ARG002
    ) -> Float[Tensor, " n"]:
        """(s - 1) / s."""
        return (fake_scores - 1) / fake_scores
