"""How far draws of parameters are from the true ones.

For draws theta ~ q with mean m and a truth t, parameter by parameter,

    rmse    sqrt(mean (theta - t)^2) = sqrt(bias^2 + width^2),
    bias    |m - t|,        width    the standard deviation of the draws,

and over several parameters the root of the sum of squares.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.metrics.base import Reals, SampleQuality


class ParameterError(SampleQuality):
    """For generators that propose a simulator's parameters, where the truth is known.

    Args:
        num_samples: how many draws one measurement takes.
        truth: the true parameters.

    Raises:
        ValueError: fewer than two samples, or no truth.
    """

    primary = "rmse"

    def __init__(self, num_samples: int, truth: Sequence[float]) -> None:
        super().__init__(num_samples)
        if num_samples < 2 or not truth:
            raise ValueError(
                f"num_samples is {num_samples} and truth {list(truth)}; use at least two "
                "samples and one parameter"
            )
        self.truth = torch.tensor(list(truth), dtype=torch.float64)

    def prepare(self, data: Reals) -> None:
        """Nothing of the observations is needed."""

    def measure(self, fakes: Float[Tensor, "n parameters"]) -> dict[str, float]:
        """The errors of draws `[n, parameters]`.

        Raises:
            ValueError: another number of parameters.
        """
        if fakes.shape[1:] != self.truth.shape:
            raise ValueError(
                f"the draws have shape {list(fakes.shape)}, and metrics.truth has "
                f"{len(self.truth)} parameters; see that channel.on_samples is false"
            )
        errors = fakes.double().cpu() - self.truth
        bias, width = errors.mean(0), errors.std(0, correction=0)
        return {
            "rmse": errors.square().sum(1).mean().sqrt().item(),
            "bias": bias.norm().item(),
            "width": width.norm().item(),
        }

    def floor(self) -> dict[str, float]:
        """Zero."""
        return {"rmse": 0.0, "bias": 0.0, "width": 0.0}
