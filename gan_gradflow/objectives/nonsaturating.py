"""The original game with the generator's loss that does not saturate.

With D the log-odds of a sample being real and softplus(a) = log(1 + e^a),

    discriminator:  softplus(-D(real)) + softplus(D(fake))
    generator:      softplus(-D(fake)),    gradient -sigmoid(-D(fake)) in the score

which are -log p(real) - log(1 - p(fake)) and -log p(fake) for p = sigmoid(D).
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from gan_gradflow.objectives.base import Objective


class NonsaturatingObjective(Objective):
    """The default for images. Goodfellow et al., NeurIPS 2014.

    The gradient is largest on fakes that the discriminator rejects and fades on those
    it accepts; a penalty such as R1 makes the game converge locally.
    """

    paired = False

    def discriminator_losses(
        self, real_scores: Float[Tensor, " n"], fake_scores: Float[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """Cross-entropy of reals and fakes."""
        return softplus(-real_scores) + softplus(fake_scores)

    def generator_losses(
        self,
        fake_scores: Float[Tensor, " n"],
        real_scores: Float[Tensor, " n"] | None,  # noqa: ARG002
    ) -> Float[Tensor, " n"]:
        """Cross-entropy of the fakes called real."""
        return softplus(-fake_scores)

    def slope_ratios(
        self,
        fake_scores: Float[Tensor, " n"],
        real_scores: Float[Tensor, " n"],  # noqa: ARG002
    ) -> Float[Tensor, " n"]:
        """-sigmoid(-s) / sigmoid(s) = -exp(-s)."""
        return -torch.exp(-fake_scores)
