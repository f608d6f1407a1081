"""How far fake digits are from held-out reals, in the features of a small classifier.

With mean mu and covariance S of the features of the fakes (f) and of the reals (r),

    frechet_distance  |mu_f - mu_r|^2 + tr(S_f + S_r - 2 (S_f S_r)^{1/2})

(Dowson and Landau, J. Multivariate Analysis 12, 1982). The same classifier sorts the
fakes into classes; with shares p of the fakes and q of the reals,

    class_coverage    share of the classes with p_c >= min_class_share,
    class_kl          sum_c p_c log(p_c / q_c),
    confidence        mean over the fakes of the largest class probability.

The distance is *not* the FID of the literature, which is defined by the features of one
Inception network; figures compare only within this classifier and this sample count.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from gan_gradflow.metrics.base import Reals, SampleQuality
from gan_gradflow.metrics.mnist_classifier import MNISTClassifier

_CHUNK = 250  # fits the cache of a CPU core
_FLOOR_SEED = 0


class _Features(nn.Identity):
    """Stands as the extractor of a Frechet distance that is given features."""

    num_features = MNISTClassifier.num_features


class ClassifierFeatures(SampleQuality):
    """Frechet distance, class coverage, class balance and confidence on MNIST digits.

    Two to three seconds for 10 000 fakes on two CPU cores. The features are those of the
    classifier that comes with the package, so nothing is downloaded.

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
        self._classifier = MNISTClassifier.pretrained().to(
            memory_format=torch.channels_last
        )
        # One process measures, so the distance must not wait for the others.
        self._distance = FrechetInceptionDistance(
            _Features(), reset_real_features=False, sync_on_compute=False
        )

    @torch.no_grad()
    def prepare(self, data: Reals) -> None:
        """Keep mean, covariance and class shares of all held-out digits.

        Raises:
            ValueError: the data are not images of shape [1, 28, 28].
        """
        if data.event_shape != (1, 28, 28):
            raise ValueError(
                f"{type(self).__name__} classifies digits [1, 28, 28], and the data are "
                f"{list(data.event_shape)}; choose data=mnist, or metrics=none"
            )
        features, probabilities = self._look(data.held_out_floats(slice(None)))
        self._data = data
        self._real_shares = _class_shares(probabilities)
        self._distance.reset_real_features = True
        self._distance.reset()
        self._distance.reset_real_features = False
        self._distance.update(features, real=True)

    def measure(self, fakes: Float[Tensor, "n 1 28 28"]) -> dict[str, float]:
        """Frechet distance, class coverage, class KL and confidence."""
        features, probabilities = self._look(fakes)
        self._distance.reset()
        self._distance.update(features, real=False)
        shares = _class_shares(probabilities)
        return {
            "frechet_distance": max(0.0, self._distance.compute().item()),
            "class_coverage": (shares >= self.min_class_share).double().mean().item(),
            "class_kl": (shares.xlogy(shares) - shares.xlogy(self._real_shares))
            .sum()
            .item(),
            "confidence": probabilities.amax(1).mean().item(),
        }

    def floor(self) -> dict[str, float]:
        """The figures of `num_samples` training digits, drawn without replacement.

        The draw is fixed and random: MNIST is not in random order, so its halves, or
        every sixth digit, differ more from the whole than a random part.
        """
        generator = torch.Generator().manual_seed(_FLOOR_SEED)
        rows = torch.randperm(len(self._data.train_reals), generator=generator)
        return self(self._data.train_floats(rows[: self.num_samples]))

    def _look(
        self, images: Float[Tensor, "n 1 28 28"]
    ) -> tuple[Float[Tensor, "n features"], Float[Tensor, "n classes"]]:
        """Features and class probabilities in float64 on the CPU."""
        classifier = self._classifier.to(images.device)
        with torch.autocast(images.device.type, enabled=False):
            chunks = images.float().clamp(-1, 1).split(_CHUNK)
            features = torch.cat([classifier(chunk) for chunk in chunks])
            probabilities = classifier.head(features).softmax(1)
        return features.double().cpu(), probabilities.double().cpu()


def _class_shares(probabilities: Float[Tensor, "n c"]) -> Float[Tensor, " c"]:
    counts = probabilities.argmax(1).bincount(minlength=probabilities.shape[1])
    return counts.double() / len(probabilities)
