"""How varied samples are, against equally many reals.

With features phi_i of n samples and distances d_ij = |phi_i - phi_j|,

    spread  the mean of d_ij over the pairs i < j,
    modes   exp(-sum_k lambda_k log lambda_k), lambda the eigenvalues of K / n,
            K_ij = exp(-d_ij^2 / (2 b^2)).

`modes` is the Vendi score (Friedman and Dieng, TMLR 2023): the effective number of
dissimilar samples, 1 where all are alike and m for m equally frequent groups that the
kernel tells apart. Its bandwidth b is a quarter of the median distance between reals (the
median heuristic itself, Gretton et al., JMLR 13, 2012, would blur the eight modes of a
ring into three; a quarter of it counts eight).

Both depend on the features and on n, so neither means anything but beside the same figure
of the reals, and both are reported as shares of it.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

_BANDWIDTH = 0.25  # of the median distance between reals


class Diversity(NamedTuple):
    """The spread of samples and their effective number of modes."""

    spread: float
    modes: float


class DiversityGauge:
    """Measures batches of fakes by batches of reals of the same size.

    n^2 distances and the eigenvalues of an n x n matrix: 10 ms for n = 256.

    Args:
        batches: features of batches of reals; their figures' mean is what a share of 1
            means, and the least of them what reals themselves may fall to.

    Raises:
        ValueError: fewer than two reals in a batch, or all of them are alike.
    """

    def __init__(self, batches: Float[Tensor, "batches n dim"]) -> None:
        if batches.shape[1] < 2:
            raise ValueError(
                f"diversity is measured between samples, and there are "
                f"{batches.shape[1]} in a batch of reals; use at least 2"
            )
        distances = torch.nn.functional.pdist(batches[0].double())
        self.bandwidth = _BANDWIDTH * distances.median().item()
        if self.bandwidth == 0:
            raise ValueError(
                "at least half of the reals are alike in these features, so no scale "
                "can be read off them; check the data"
            )
        found = [self.measure(batch) for batch in batches]
        self.reals = Diversity(*(sum(f) / len(f) for f in zip(*found, strict=True)))
        self.least_of_reals = Diversity(*(min(f) for f in zip(*found, strict=True)))

    def measure(self, features: Float[Tensor, "n dim"]) -> Diversity:
        """The spread and the modes of samples, in float64."""
        distances = torch.cdist(
            features.double(),
            features.double(),
            compute_mode="donot_use_mm_for_euclid_dist",
        )
        count = len(features)
        kernel = (-0.5 * (distances / self.bandwidth).square()).exp() / count
        weights = torch.linalg.eigvalsh(kernel).clamp(min=0)
        return Diversity(
            spread=distances.sum().item() / (count * (count - 1)),
            modes=(-weights.xlogy(weights).sum()).exp().item(),
        )

    def share(self, fakes: Float[Tensor, "n dim"]) -> Diversity:
        """The spread and the modes of fakes, as shares of the reals'."""
        found = self.measure(fakes)
        return Diversity(
            found.spread / self.reals.spread, found.modes / self.reals.modes
        )
