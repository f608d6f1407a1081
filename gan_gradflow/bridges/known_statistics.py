"""An input that is never seen, and of which the mean and the covariance are known.

A function g of an input x ~ N(mu, S) has the estimate (1 / m) sum_k g(x_k) from m draws,
with the error sqrt(tr cov g / m). Where g is the gradient of a loss in the weights of a
layer, it trains a layer whose input is out of reach.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.bridges.moments import Moments, draw_surrogates, root


class KnownStatistics:
    """Draws stand-ins for an unseen input from its mean and covariance.

    Whatever is computed from the draws has the right gradient on average, with an error
    of O(1 / sqrt(num_draws)); for matched draws the error is zero where the gradient is
    quadratic in the input. `docs/unavailable-inputs.md` has the recipes.

    Args:
        mean: of the event's shape; it may carry a graph.
        covariance: `[dim, dim]` for an event of `dim` elements; it may carry a graph.

    Raises:
        ValueError: the shapes disagree, a number is not finite, or the covariance is not
            symmetric positive semi-definite.
    """

    def __init__(
        self, mean: Float[Tensor, "*event"], covariance: Float[Tensor, "rows columns"]
    ) -> None:
        dim = mean.numel()
        if covariance.shape != (dim, dim):
            raise ValueError(
                f"covariance has shape {list(covariance.shape)} for a mean of {dim} "
                f"elements; it must be [{dim}, {dim}]"
            )
        for name, known in (("mean", mean), ("covariance", covariance)):
            if not known.isfinite().all():
                raise ValueError(
                    f"{name} holds NaN or infinite numbers; give finite ones"
                )
        _check_semidefinite(covariance.detach())
        self.event = mean.shape
        self.moments = Moments(mean.reshape(-1), root(covariance), None)

    def draw(self, num_draws: int, matched: bool) -> Float[Tensor, "draws *event"]:
        """Stand-ins `[num_draws, *event]` for the input.

        Args:
            num_draws: how many.
            matched: give the draws the known mean and covariance themselves; takes more
                draws than the input has elements.

        Raises:
            ValueError: too few draws to match.
        """
        draws = draw_surrogates(self.moments, num_draws, matched)
        return draws.reshape(num_draws, *self.event)


def _check_semidefinite(covariance: Float[Tensor, "dim dim"]) -> None:
    tolerance = 10 * len(covariance) * torch.finfo(covariance.dtype).eps
    size = float(covariance.abs().max())
    if float((covariance - covariance.T).abs().max()) > tolerance * size:
        raise ValueError("covariance is not symmetric; give (C + C.T) / 2")
    smallest = float(torch.linalg.eigvalsh(covariance)[0])
    if smallest < -tolerance * size:
        raise ValueError(
            f"covariance is not positive semi-definite: its smallest eigenvalue is "
            f"{smallest:.3g}; clip its eigenvalues at 0"
        )
