"""A mixture of equally likely Gaussians in the plane,

    p(x) = 1 / m sum_j N(x; mu_j, sigma^2 I),    x in R^2,

whose modes are known, so that it can be counted which of them a generator covers.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.datamodules.base import DataSet, TensorDataModule
from gan_gradflow.datamodules.seeding import generator_for


class GaussianMixtureDataModule(TensorDataModule):
    """Samples of a mixture, drawn once from the seed. A subclass chooses the means.

    Args:
        means: the centres of the modes.
        sigma: the standard deviation of each mode.
        num_train: training samples.
        num_held_out: samples that training never sees.
        event_shape: `[2]`.
        batch_size: samples in a batch, over all processes.
        seed: what the samples and their order follow from.
        num_iterations: the length of the training loader.
        batches_per_iteration: batches that one iteration takes: n_critic.

    Raises:
        ValueError: `sigma` is not positive, or a number of samples is below 1.
    """

    def __init__(
        self,
        means: Float[Tensor, "modes 2"],
        sigma: float,
        num_train: int,
        num_held_out: int,
        event_shape: Sequence[int],
        batch_size: int,
        seed: int,
        num_iterations: int,
        batches_per_iteration: int,
    ) -> None:
        super().__init__(
            event_shape, batch_size, seed, num_iterations, batches_per_iteration
        )
        if sigma <= 0:
            raise ValueError(f"sigma must be positive, got {sigma}; try 0.01")
        if min(num_train, num_held_out) < 1:
            raise ValueError(
                "num_train and num_held_out must be at least 1, got "
                f"{num_train} and {num_held_out}; try 100000 and 10000"
            )
        self.means = means
        self.sigma = sigma
        self.num_train = num_train
        self.num_held_out = num_held_out

    def load(self) -> DataSet:
        """Draw the samples; the class of a sample is its mode."""
        train = self._draw(self.num_train, "train")
        return DataSet(*train, *self._draw(self.num_held_out, "held out"))

    def _draw(self, count: int, split: str) -> tuple[Tensor, Tensor]:
        generator = generator_for(self.seed, split)
        modes = torch.randint(len(self.means), (count,), generator=generator)
        noise = torch.randn(count, 2, generator=generator)
        return self.means[modes] + self.sigma * noise, modes
