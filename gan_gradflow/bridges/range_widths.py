"""How wide to ask in each element of a sample that lives in a range.

A generator whose last layer squashes, x = tanh(a), moves an element by s = 1 - x^2 for
each unit of a: what arrives at its parameters is s times the pull. A pull estimated as
mean_k <g, u_k> v_k, with z ~ N(0, I) and any widths w > 0, asks along u = w z and answers
along v = z / w, so that E[v u^T] = I: it is unbiased whatever w is. On K directions
element i of the pull has the variance

    1 / K * (sum_j w_j^2 g_j^2 / w_i^2 + g_i^2),

and all of them, as the parameters see them, sum to about 1 / K times

    sum_j w_j^2 g_j^2 * sum_i s_i^2 / w_i^2,

which is least at w_i^2 = s_i / |g_i|. Before |g| is known, that is w = sqrt(s).
"""

import torch
from jaxtyping import Float
from torch import Tensor


class RangeWidths:
    """sqrt(1 - t^2), where t runs from -1 at one end of the range to 1 at the other.

    Beyond the ends it is 1: what gets there has not been squashed.

    Args:
        low: the lower end of the range: -1 for tanh, 0 for a sigmoid.
        high: the upper end.
        least: no width is smaller; at the ends it would be 0.

    Raises:
        ValueError: the range is empty, or `least` outside (0, 1].
    """

    def __init__(self, low: float, high: float, least: float) -> None:
        if not low < high:
            raise ValueError(
                f"a range needs low < high, got {low} and {high}; use -1 and 1 for the "
                "images of a generator that ends in tanh"
            )
        if not 0 < least <= 1:
            raise ValueError(
                f"least must be above 0 and at most 1, got {least}; try 0.2"
            )
        self.low, self.high, self.least = low, high, least

    def __call__(
        self, x: Float[Tensor, "batch *event"]
    ) -> Float[Tensor, "batch *event"]:
        """The width in each element of the samples x."""
        t = (2 * x - (self.low + self.high)) / (self.high - self.low)
        within = (1 - t * t).clamp(min=self.least**2).sqrt()
        return torch.where(t.abs() > 1, 1, within)
