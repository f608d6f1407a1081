"""Statistics of a batch: all that the surrogate-input bridge lets cross.

Samples x_1 .. x_n in R^d have the mean mu and, with the centred samples as rows of X, the
covariance S = X^T X / n. A factor A and a scale s describe as much of it as crosses,
S ~ A A^T + diag(s^2):

    full       A A^T = S                  s = 0
    diagonal   A has no columns           s_j^2 = S_jj
    low_rank   A = X^T Q / sqrt(n)        s_j^2 = |column j of X - Q Q^T X|^2 / n

where Q (n x r) is an orthonormal basis of the samples' coordinates along the r leading
eigenvectors of S; these are held constant, see `moments.py`. No element loses variance.
Dividing by n, not n - 1, makes the batch itself a set of inputs with these moments.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.bridges.moments import Moments, deviation, root, whiten


class Statistics(ABC):
    """What is computed from a batch; differentiable in every sample."""

    @abstractmethod
    def least_samples(self, dim: int) -> int:
        """The smallest batch of samples of `dim` elements that has these statistics."""

    @abstractmethod
    def moments(self, samples: Float[Tensor, "batch dim"]) -> Moments:
        """The statistics of a batch that is large enough."""

    def __call__(self, samples: Float[Tensor, "batch dim"]) -> Moments:
        """The statistics of a batch.

        Raises:
            ValueError: the batch is too small.
        """
        num_samples, dim = samples.shape
        least = self.least_samples(dim)
        if num_samples >= least:
            return self.moments(samples)
        if num_samples < 2:
            raise ValueError(
                f"{type(self).__name__} got {num_samples} sample, whose mean would be the "
                "sample itself; give a batch of at least 2"
            )
        raise ValueError(
            f"{type(self).__name__} needs at least {least} samples of {dim} elements, got "
            f"{num_samples}; enlarge the batch, or choose statistics=low_rank or "
            "statistics=diagonal"
        )


class FullStatistics(Statistics):
    """Mean and covariance: d + d (d + 1) / 2 numbers, exact on quadratic critics.

    Time grows as n d^2 + d^3: for up to a few hundred elements. It asks for more samples
    than elements; with fewer, `low_rank` carries the same in less.
    """

    def least_samples(self, dim: int) -> int:
        """One more than the elements of a sample, and at least two."""
        return max(2, dim + 1)

    def moments(self, samples: Float[Tensor, "batch dim"]) -> Moments:
        """The mean and a root of the covariance."""
        mean = samples.mean(0)
        centred = samples - mean
        return Moments(mean, root(centred.T @ centred / len(samples)), None)


class DiagonalStatistics(Statistics):
    """Mean and variance of each element: 2 d numbers, exact on separable quadratics.

    The cheapest, and the least that crosses; surrogates have independent elements, so an
    image's surrogates are noise around the mean image.
    """

    def least_samples(self, dim: int) -> int:  # noqa: ARG002
        """Two."""
        return 2

    def moments(self, samples: Float[Tensor, "batch dim"]) -> Moments:
        """The mean and the deviation of each element."""
        mean = samples.mean(0)
        return Moments(mean, mean.new_zeros(len(mean), 0), deviation(samples - mean))


class LowRankStatistics(Statistics):
    """Mean, leading directions, variance left in each element: (r + 2) d numbers.

    Choose it for images. With H the critic's mean Hessian and P the projection on the
    directions kept, what comes back is H but for the block between directions not kept,
    of which the diagonal remains: H P + P H - P H P + (1 - P) diag(H) (1 - P). So it is
    exact on quadratic critics where r >= n - 1; but then the factor spans the very
    samples: keep r well below n where that matters. Time grows as n^2 d + n^3, at most.

    Args:
        rank: r, the number of directions kept; fewer where the batch or a sample has
            fewer.

    Raises:
        ValueError: `rank` is below 1.
    """

    def __init__(self, rank: int) -> None:
        if rank < 1:
            raise ValueError(
                f"rank must be at least 1, got {rank}; try 16, or choose "
                "statistics=diagonal to keep no direction"
            )
        self.rank = rank

    def least_samples(self, dim: int) -> int:  # noqa: ARG002
        """Two."""
        return 2

    def moments(self, samples: Float[Tensor, "batch dim"]) -> Moments:
        """The mean, the leading directions and the deviation left in each element."""
        num_samples, dim = samples.shape
        mean = samples.mean(0)
        centred = samples - mean
        rank = min(self.rank, num_samples - 1, dim)
        whitener, dead = _leading(centred.detach(), rank)
        coordinates = centred @ whitener / num_samples**0.5
        triangle = torch.linalg.cholesky(coordinates.T @ coordinates + dead.diag())
        basis = torch.linalg.solve_triangular(triangle, coordinates.T, upper=False)
        factor = (basis @ centred).T / num_samples**0.5
        left = centred - num_samples**0.5 * (factor @ basis).T
        return Moments(mean, factor, deviation(left))


def _leading(
    centred: Float[Tensor, "batch dim"], rank: int
) -> tuple[Float[Tensor, "dim rank"], Float[Tensor, " rank"]]:
    """V D^(-1/2) along the leading directions, from the smaller of two Gram matrices."""
    num_samples, dim = centred.shape
    wide = dim > num_samples
    gram = (centred @ centred.T if wide else centred.T @ centred) / num_samples
    values, vectors = (part[..., -rank:] for part in torch.linalg.eigh(gram))
    if wide:
        # Eigenvectors V of X^T X / n from those of X X^T / n; the floor of `whiten`
        # takes care of what rounding leaves of the small ones.
        vectors = torch.nn.functional.normalize(centred.T @ vectors, dim=0)
    return whiten(values, vectors)
