"""The Frechet distance between two sets of features, taken as Gaussians.

    |mu_f - mu_r|^2 + tr(S_f + S_r - 2 (S_f S_r)^{1/2})

with mean mu and covariance S of the features of the fakes (f) and of the reals (r), in
float64 (Dowson and Landau, J. Multivariate Analysis 12, 1982). Its expectation falls with
the number of samples, so figures compare at equal counts only.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance


class FrechetDistance:
    """The distance of fakes from reals that are given once.

    Args:
        reals: the features of the reals.

    Raises:
        ValueError: too few reals for a covariance of full rank.
    """

    def __init__(self, reals: Float[Tensor, "n d"]) -> None:
        self._require_full_rank(reals, "reals", "hold out more of them")
        identity = nn.Identity()
        identity.num_features = reals.shape[1]  # type: ignore[assignment]
        # One process measures, so the distance must not wait for the others.
        self._distance = FrechetInceptionDistance(
            identity, reset_real_features=False, sync_on_compute=False
        )
        self._distance.update(reals.double(), real=True)

    @torch.no_grad()
    def __call__(self, fakes: Float[Tensor, "n d"]) -> float:
        """The distance of fakes.

        Raises:
            ValueError: too few fakes for a covariance of full rank.
        """
        self._require_full_rank(fakes, "fakes", "raise num_samples")
        self._distance.reset()
        self._distance.update(fakes.double(), real=False)
        return max(0.0, self._distance.compute().item())

    def _require_full_rank(
        self, features: Float[Tensor, "n d"], which: str, way_out: str
    ) -> None:
        count, dim = features.shape
        if count <= dim:
            raise ValueError(
                f"{count} {which} are too few for the covariance of {dim} features; at "
                f"least {dim + 1} are needed: {way_out}, or choose features of fewer "
                "dimensions"
            )
