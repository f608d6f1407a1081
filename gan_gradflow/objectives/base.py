"""The contract of every objective: what each player minimises, sample by sample.

From raw scores D(x) of reals x and D(y) of fakes y, an objective gives the
discriminator's loss of each pair (x_i, y_i) and the generator's loss of each fake y_i;
the players minimise the means. Losses stay per sample because a bridge estimates the
gradient of each sample's own loss.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor


class Objective(ABC):
    """A loss for the discriminator and one for the generator.

    Attributes:
        paired: the generator's loss compares each fake with a real, so whoever asks for
            it must score paired reals as well.
    """

    paired: ClassVar[bool]

    @abstractmethod
    def discriminator_losses(
        self, real_scores: Float[Tensor, " n"], fake_scores: Float[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """The discriminator's loss of each pair of a real and a fake."""

    @abstractmethod
    def generator_losses(
        self, fake_scores: Float[Tensor, " n"], real_scores: Float[Tensor, " n"] | None
    ) -> Float[Tensor, " n"]:
        """The generator's loss of each fake; `real_scores` may be None if unpaired."""

    def slope_ratios(
        self,
        fake_scores: Float[Tensor, " n"],  # noqa: ARG002
        real_scores: Float[Tensor, " n"],  # noqa: ARG002
    ) -> Float[Tensor, " n"] | None:
        """The slope of the generator's loss in each fake's score over the discriminator's.

        In closed form, and not finite where the discriminator's slope is zero; None if
        nobody has worked it out. With it, one backward can serve both players.
        """
        return None
