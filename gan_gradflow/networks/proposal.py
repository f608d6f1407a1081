"""A Gaussian over a simulator's parameters: theta = m + s (a + exp(b) e), e ~ N(0, I).

m and s are where it starts; a and b, from 0, are what learns. In units of the start one
learning rate suits parameters of different size.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from gan_gradflow.networks.layers import require_positive


class GaussianProposal(nn.Module):
    """The generator of adversarial variational optimisation: it has no input.

    Emits one and the same distribution for every latent, so that a batch is a number of
    draws. Louppe, Hermans and Cranmer, AISTATS 2019.

    Args:
        latent_dim: length of a latent, of which nothing is used.
        mean: the start of the mean, one number for each parameter.
        std: the start of the standard deviations.

    Raises:
        ValueError: the two differ in length, or a standard deviation is not positive.
    """

    def __init__(
        self, latent_dim: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        require_positive(latent_dim=latent_dim)
        if len(mean) != len(std) or not mean or not min(std) > 0:
            raise ValueError(
                f"mean is {list(mean)} and std {list(std)}; give as many of each, and "
                "positive standard deviations"
            )
        self.latent_dim = latent_dim
        self.event_shape = (len(mean),)
        self.start: Tensor
        self.unit: Tensor
        self.register_buffer("start", torch.tensor(list(mean)))
        self.register_buffer("unit", torch.tensor(list(std)))
        self.shift = nn.Parameter(torch.zeros(len(mean)))
        self.log_std = nn.Parameter(torch.zeros(len(mean)))

    def forward(self, latents: Float[Tensor, "batch latent_dim"]) -> Independent:
        """The proposal, once for each latent."""
        mean = self.start + self.unit * self.shift
        std = self.unit * self.log_std.exp()
        batch = (len(latents), -1)
        return Independent(Normal(mean.expand(batch), std.expand(batch)), 1)
