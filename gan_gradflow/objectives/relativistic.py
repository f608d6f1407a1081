"""Relativistic pairing: each fake is judged against one real.

    discriminator:  softplus(-(D(real) - D(fake)))
    generator:      softplus(-(D(fake) - D(real)))

Only differences of scores matter.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from gan_gradflow.objectives.base import Objective


class RelativisticObjective(Objective):
    """Covers modes that unpaired losses drop; costs the scores of paired reals.

    Without a penalty it need not converge; choose it with R1 and R2.
    Jolicoeur-Martineau, ICLR 2019; Sun et al., NeurIPS 2020; Huang et al. (R3GAN),
    NeurIPS 2024.
    """

    paired = True

    def discriminator_losses(
        self, real_scores: Float[Tensor, " n"], fake_scores: Float[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """Cross-entropy of each real called better than its fake."""
        return softplus(fake_scores - real_scores)

    def generator_losses(
        self,
        fake_scores: Float[Tensor, " n"],
        real_scores: Float[Tensor, " n"] | None,
    ) -> Float[Tensor, " n"]:
        """Cross-entropy of each fake called better than its real.

        Raises:
            ValueError: there are no `real_scores`.
        """
        if real_scores is None:
            raise ValueError(
                "RelativisticObjective compares each fake with a real, and real_scores "
                "is None; score one real for each fake"
            )
        return softplus(real_scores - fake_scores)

    def slope_ratios(
        self,
        fake_scores: Float[Tensor, " n"],
        real_scores: Float[Tensor, " n"],
    ) -> Float[Tensor, " n"]:
        """-exp(D(real) - D(fake))."""
        return -torch.exp(real_scores - fake_scores)
