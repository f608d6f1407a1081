"""Which modes of a Gaussian mixture the fakes cover, and how evenly.

For m equally likely modes mu_j with standard deviation sigma in the plane, a fake belongs
to its nearest mode and is of *high quality* within 3 sigma of it. With n fakes,

    modes         modes with at least one fake of high quality,
    high_quality  share of the fakes of high quality,
    reverse_kl    sum_j p_j log(p_j m),  p_j the share of all fakes that belong to j,
    cell_kl       sum_c p_c log(p_c / q_c) over m + 1 cells,

where the cells are the m discs of high quality, q = (1 - exp(-9/2)) / m each, and all the
rest of the plane, q = exp(-9/2); an empty cell counts 0 in both sums. The first three are
the protocol of PacGAN (Lin et al., NeurIPS 2018, n = 2500). `cell_kl` is 0 for the
mixture's own shares alone: it rises with every missing mode and with every stray fake,
to which `reverse_kl` is blind. The mixture itself expects, to first order in 1 / n,

    m,    1 - exp(-9/2) = 0.98889,    (m - 1) / (2 n),    m / (2 n).
"""

import math
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.metrics.base import Reals, SampleQuality

_HIGH_QUALITY = 1 - math.exp(-9 / 2)


@runtime_checkable
class _Mixture(Protocol):
    means: Tensor
    sigma: float


class ModeCoverage(SampleQuality):
    """Modes and high-quality share of PacGAN, for the ring and the grid.

    It needs the mixture's means, and costs n m distances: a millisecond.

    Args:
        num_samples: how many fakes one measurement takes.

    Raises:
        ValueError: `num_samples` is below 1.
    """

    primary = "cell_kl"

    def __init__(self, num_samples: int) -> None:
        super().__init__(num_samples)
        if num_samples < 1:
            raise ValueError(
                f"num_samples must be at least 1, got {num_samples}; try 2500"
            )

    def prepare(self, data: Reals) -> None:
        """Keep the mixture's means and sigma.

        Raises:
            ValueError: the data are not a mixture in the plane, or its modes overlap.
        """
        if not isinstance(data, _Mixture) or data.means.shape[1:] != (2,):
            raise ValueError(
                f"{type(self).__name__} needs a Gaussian mixture in the plane, got "
                f"{type(data).__name__}; choose data=ring or data=grid, or metrics=none"
            )
        if len(data.means) > 1:
            closest = torch.nn.functional.pdist(data.means).min().item()
            if closest <= 6 * data.sigma:
                raise ValueError(
                    f"two modes are {closest:.3g} apart, within 6 sigma = "
                    f"{6 * data.sigma:.3g}, so a fake could be of high quality for both; "
                    "lower data.sigma or move the modes apart"
                )
        self._means, self._sigma = data.means, data.sigma

    def measure(self, fakes: Float[Tensor, "n 2"]) -> dict[str, float]:
        """Modes covered, high-quality share, reverse KL and cell KL."""
        num_modes = len(self._means)
        distances = torch.cdist(
            fakes.double(),
            self._means.to(fakes.device).double(),
            compute_mode="donot_use_mm_for_euclid_dist",
        )
        distance, mode = distances.min(1)
        high_quality = distance <= 3 * self._sigma
        hits = mode[high_quality].bincount(minlength=num_modes).double().cpu() / len(
            fakes
        )
        stray = 1 - hits.sum()
        share = mode.bincount(minlength=num_modes).double().cpu() / len(fakes)
        cells = torch.cat([hits, stray[None].clamp(min=0)])
        expected = torch.full_like(cells, _HIGH_QUALITY / num_modes)
        expected[-1] = 1 - _HIGH_QUALITY
        return {
            "modes": float((hits > 0).sum()),
            "high_quality": hits.sum().item(),
            "reverse_kl": (share.xlogy(share * num_modes)).sum().item(),
            "cell_kl": (cells.xlogy(cells / expected)).sum().item(),
        }

    def floor(self) -> dict[str, float]:
        """What the mixture itself expects, to first order in 1 / num_samples."""
        num_modes = len(self._means)
        return {
            "modes": float(num_modes),
            "high_quality": _HIGH_QUALITY,
            "reverse_kl": (num_modes - 1) / (2 * self.num_samples),
            "cell_kl": num_modes / (2 * self.num_samples),
        }
