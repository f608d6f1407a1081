"""How far fake digits are from held-out reals, in the features of a small classifier.

With mean mu and covariance S of the features of the fakes (f) and of the reals (r),

    frechet_distance  |mu_f - mu_r|^2 + tr(S_f + S_r - 2 (S_f S_r)^{1/2})

(see `frechet`). The same classifier sorts the fakes into classes (see `classes`).

The distance is *not* the FID of the literature, which is defined by the features of one
Inception network; figures compare only within this classifier and this sample count.
"""

import logging

import torch
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.metrics.base import Reals, SampleQuality
from gan_gradflow.metrics.classes import class_figures, class_shares
from gan_gradflow.metrics.extractor import Extractor
from gan_gradflow.metrics.frechet import FrechetDistance
from gan_gradflow.metrics.mnist_classifier import MNISTClassifier, doubts_about_digits

log = logging.getLogger(__name__)
_FLOOR_SEED = 0


class ClassifierFeatures(SampleQuality):
    """Frechet distance, class coverage, class balance and confidence on MNIST digits.

    Two to three seconds for 10 000 fakes on two CPU cores. The features are those of the
    classifier that comes with the package, so nothing is downloaded. On data that do not
    look like digits, the distance still compares; a warning says that classes do not.

    Args:
        num_samples: how many fakes one measurement takes.
        min_class_share: from which share of the fakes on a class counts as covered.

    Raises:
        ValueError: too few samples for a covariance of full rank, or a share outside
            (0, 0.1].
    """

    primary = "frechet_distance"

    def __init__(self, num_samples: int, min_class_share: float) -> None:
        super().__init__(num_samples)
        smallest = MNISTClassifier.num_features + 1
        if num_samples < smallest:
            raise ValueError(
                f"num_samples is {num_samples}, too few for the covariance of "
                f"{MNISTClassifier.num_features} features; use at least {smallest}, and "
                "10000 for figures that compare"
            )
        if not 0 < min_class_share <= 1 / MNISTClassifier.num_classes:
            raise ValueError(
                "min_class_share must be above 0 and at most 0.1, the share of a class "
                f"among balanced digits, got {min_class_share}; try 0.01"
            )
        self.min_class_share = min_class_share
        self._extractor = Extractor(MNISTClassifier.pretrained(), (1, 28, 28))
        self._reals: tuple[FrechetDistance, Tensor] | None = None

    def prepare(self, data: Reals) -> None:
        """Keep the digits; they are looked at when the first fakes are.

        Raises:
            ValueError: the data are not images of shape [1, 28, 28].
        """
        if data.event_shape != (1, 28, 28):
            raise ValueError(
                f"{type(self).__name__} classifies digits [1, 28, 28], and the data are "
                f"{list(data.event_shape)}; choose data=mnist, or metrics=none"
            )
        self._data = data
        self._reals = None

    def measure(self, fakes: Float[Tensor, "n 1 28 28"]) -> dict[str, float]:
        """Frechet distance, class coverage, class KL and confidence."""
        self._reals = self._reals or self._look_at_reals()
        distance, real_shares = self._reals
        features = self._extractor(fakes)
        probabilities = self._extractor.probabilities(features)
        return {"frechet_distance": distance(features)} | class_figures(
            probabilities, real_shares, self.min_class_share
        )

    def floor(self) -> dict[str, float]:
        """The figures of `num_samples` training digits, drawn without replacement.

        The draw is fixed and random: MNIST is not in random order, so its halves, or
        every sixth digit, differ more from the whole than a random part.
        """
        generator = torch.Generator().manual_seed(_FLOOR_SEED)
        rows = torch.randperm(len(self._data.train_reals), generator=generator)
        return self(self._data.train_floats(rows[: self.num_samples]))

    def _look_at_reals(self) -> tuple[FrechetDistance, Tensor]:
        """The distance to the held-out digits, and their class shares."""
        features = self._extractor(self._data.held_out_floats(slice(None)))
        probabilities = self._extractor.probabilities(features)
        doubts = doubts_about_digits(probabilities)
        if doubts:
            log.warning(doubts)
        return FrechetDistance(features), class_shares(probabilities)

    @torch.no_grad()
    def features(
        self, samples: Float[Tensor, "n 1 28 28"]
    ) -> Float[Tensor, "n features"]:
        """The features of the classifier."""
        return self._extractor(samples)
