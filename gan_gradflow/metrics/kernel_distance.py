"""The squared maximum mean discrepancy between two sets of features, without bias.

    E k(f, f') + E k(r, r') - 2 E k(f, r),    k(x, y) = (x . y / d + 1)^3

averaged over random subsets (Binkowski, Sutherland, Arbel and Gretton, "Demystifying MMD
GANs", ICLR 2018). It needs no covariance, and its expectation does not depend on the
number of samples.
"""

import warnings

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics.image.kid import KernelInceptionDistance

_SEED = 0


class KernelDistance:
    """The discrepancy of fakes from reals that are given once.

    Args:
        reals: the features of the reals.
        num_subsets: over how many subsets the estimate is averaged.
        subset_size: samples in a subset, fewer where there are fewer.
    """

    def __init__(
        self, reals: Float[Tensor, "n d"], num_subsets: int, subset_size: int
    ) -> None:
        if num_subsets < 1 or subset_size < 2:
            raise ValueError(
                "num_subsets must be at least 1 and subset_size at least 2, got "
                f"{num_subsets} and {subset_size}; try 100 and 1000"
            )
        self._reals = reals.double()
        self._num_subsets, self._subset_size = num_subsets, subset_size

    @torch.no_grad()
    def __call__(self, fakes: Float[Tensor, "n d"]) -> float:
        """The discrepancy of fakes; the subsets are the same each time."""
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            # It says that it keeps all features; they are here in any case.
            warnings.filterwarnings(
                "ignore", message=".*extracted features in buffer.*"
            )
            torch.manual_seed(_SEED)
            distance = KernelInceptionDistance(
                nn.Identity(),
                subsets=self._num_subsets,
                subset_size=min(self._subset_size, len(fakes), len(self._reals)),
                sync_on_compute=False,
            )
            distance.update(self._reals, real=True)
            distance.update(fakes.double(), real=False)
            return distance.compute()[0].item()
