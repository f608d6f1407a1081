"""Draws around samples that live in a range: `range_widths.py` says how and why."""

from jaxtyping import Float, Shaped
from torch import Tensor
from torch.distributions import Distribution

from gan_gradflow.bridges.draws import IndependentDraws
from gan_gradflow.bridges.range_widths import RangeWidths


class RangeDraws(IndependentDraws):
    """Independent draws, wide where an element is free to move and narrow at its ends.

    Element i of a tensor emission is given a Gaussian of width sigma w_i: the pull is
    unbiased for the loss smoothed by that. For a generator that ends in tanh or a sigmoid
    the gradient of its parameters has less variance. Choose it for images and other
    squashed samples that are emitted as they are; a distribution has its own widths.

    Args:
        low: the lower end of the range: -1 for tanh, 0 for a sigmoid.
        high: the upper end.
        least: the width at the ends, beside 1 in the middle.
    """

    def __init__(self, low: float, high: float, least: float) -> None:
        self.widths = RangeWidths(low, high, least)

    def pair(
        self,
        noise: Float[Tensor, "groups members batch *event"],
        x: Float[Tensor, "batch *event"],
    ) -> tuple[Float[Tensor, "groups members batch *event"], ...]:
        """More noise to ask with where x is in the middle, less to answer with."""
        widths = self.widths(x)
        return noise * widths, noise / widths

    def sample(
        self,
        shape: tuple[int, int],  # noqa: ARG002
        distribution: Distribution,
    ) -> Shaped[Tensor, "groups members ..."]:
        """Refused: what is drawn from a distribution has the distribution's widths.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "RangeDraws give a tensor emission its widths, and a "
            f"{type(distribution).__name__} has its own; choose bridge/draws=independent"
        )
