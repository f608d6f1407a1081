"""Everything that features can tell about fakes, with its floor and its error.

The floor is what training samples, a fixed random draw of them, score in place of the
fakes: reals against reals. The error of a distance is its standard deviation over
bootstrap resamples of the fakes: how far it would move with other fakes of the same
generator; the reals stay as they are, because they are the same for every generator.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gan_gradflow.metrics.base import Reals
from gan_gradflow.metrics.classes import class_figures, class_shares
from gan_gradflow.metrics.extractor import Extractor
from gan_gradflow.metrics.feature_cache import Chunks, FeatureCache
from gan_gradflow.metrics.frechet import FrechetDistance
from gan_gradflow.metrics.kernel_distance import KernelDistance
from gan_gradflow.metrics.manifolds import Manifolds
from gan_gradflow.metrics.memorisation import FLOOR, memorisation
from gan_gradflow.metrics.mnist_classifier import MNISTClassifier, doubts_about_digits
from gan_gradflow.metrics.neighbours import nearest

_FLOOR_SEED = 0
_ROWS_AT_ONCE = 1000


class Evaluation(NamedTuple):
    """Figures of fakes, and what stands beside them.

    Attributes:
        figures: each figure by its name.
        floor: what reals score in place of the fakes.
        error: the bootstrap error, of the distances alone.
        distances: from each fake to its nearest training sample.
        neighbours: which training sample that is.
        real_distances: from each held-out real to its nearest training sample.
        shares: of the fakes in each class; None without a classifier.
        real_shares: of the reals in each class.
    """

    figures: dict[str, float]
    floor: dict[str, float]
    error: dict[str, float]
    distances: Float[Tensor, " fakes"]
    neighbours: Int[Tensor, " fakes"]
    real_distances: Float[Tensor, " reals"]
    shares: Float[Tensor, " classes"] | None
    real_shares: Float[Tensor, " classes"] | None


class FeatureEvaluation:
    """Distances, manifolds, classes and memorisation in the features of one extractor.

    Half a minute for 10 000 digits on two CPU cores; the features of the reals are kept.

    Args:
        extractor: maps samples to features.
        data: the training samples, and those that training never saw.
        cache: where features of reals are kept.
        max_train: the most training samples that are searched for neighbours.
        neighbours: k of precision, recall, density and coverage.
        num_resamples: of the bootstrap.
        num_subsets: of the kernel distance.
        subset_size: samples in each of them.
        min_class_share: from which share of the fakes on a class counts as covered.

    Attributes:
        doubts: why figures of classes mean nothing; None if they may mean something.

    Raises:
        ValueError: a number is out of its range, or there are too few reals.
    """

    def __init__(
        self,
        extractor: Extractor,
        data: Reals,
        cache: FeatureCache,
        *,
        max_train: int,
        neighbours: int,
        num_resamples: int,
        num_subsets: int,
        subset_size: int,
        min_class_share: float,
    ) -> None:
        if num_resamples < 2:
            raise ValueError(
                f"num_resamples must be at least 2, got {num_resamples}; try 20"
            )
        if max_train < 1:
            raise ValueError(f"max_train must be at least 1, got {max_train}")
        self.extractor = extractor
        self.train_rows = _shuffled(len(data.train_reals))[:max_train]
        held_out = cache.features(extractor, _chunks_of_held_out(data))
        self._frechet = FrechetDistance(held_out)
        self._kernel = KernelDistance(held_out, num_subsets, subset_size)
        self._manifolds = Manifolds(held_out, neighbours)
        self._train = cache.features(extractor, _chunks_of(data, self.train_rows))
        self._real_distances, _ = nearest(held_out, self._train)
        self._num_resamples = num_resamples
        self._min_class_share = min_class_share
        self._real_shares = None
        self.doubts = None
        if extractor.is_classifier:
            probabilities = extractor.probabilities(held_out)
            self._real_shares = class_shares(probabilities)
            if isinstance(extractor.network, MNISTClassifier):
                self.doubts = doubts_about_digits(probabilities)

    @torch.no_grad()
    def __call__(self, fakes: Float[Tensor, "n *event"]) -> Evaluation:
        """Everything about fakes.

        Raises:
            ValueError: too few fakes, or more than there are training samples to set a
                floor.
        """
        features = self.extractor(fakes)
        if len(fakes) > len(self._train):
            raise ValueError(
                f"num_samples is {len(fakes)}, and the floor needs as many training "
                f"samples, of which there are {len(self._train)}; lower num_samples"
            )
        distances, neighbours = nearest(features, self._train)
        copies = memorisation(distances, self._real_distances)
        return Evaluation(
            figures=self._figures(features) | copies,
            floor=self._figures(self._train[: len(fakes)]) | FLOOR,
            error=self._errors(features),
            distances=distances,
            neighbours=self.train_rows[neighbours],
            real_distances=self._real_distances,
            shares=self._shares(features),
            real_shares=self._real_shares,
        )

    def _figures(self, features: Float[Tensor, "n d"]) -> dict[str, float]:
        figures = self._distances(features) | self._manifolds(features)
        if self._real_shares is None:
            return figures
        probabilities = self.extractor.probabilities(features)
        return figures | class_figures(
            probabilities, self._real_shares, self._min_class_share
        )

    def _distances(self, features: Float[Tensor, "n d"]) -> dict[str, float]:
        return {
            "frechet_distance": self._frechet(features),
            "kernel_distance": self._kernel(features),
        }

    def _errors(self, features: Float[Tensor, "n d"]) -> dict[str, float]:
        generator = torch.Generator().manual_seed(_FLOOR_SEED)
        count = len(features)
        drawn = []
        for _ in range(self._num_resamples):
            rows = torch.randint(count, (count,), generator=generator)
            drawn.append(self._distances(features[rows]))
        return {
            name: torch.tensor([d[name] for d in drawn]).std().item()
            for name in drawn[0]
        }

    def _shares(self, features: Float[Tensor, "n d"]) -> Tensor | None:
        if self._real_shares is None:
            return None
        return class_shares(self.extractor.probabilities(features))


def _shuffled(count: int) -> Int[Tensor, " rows"]:
    return torch.randperm(count, generator=torch.Generator().manual_seed(_FLOOR_SEED))


def _chunks_of(data: Reals, rows: Int[Tensor, " rows"]) -> Chunks:
    def chunks() -> Iterator[Tensor]:
        for some in rows.split(_ROWS_AT_ONCE):
            yield data.train_floats(some)

    return chunks


def _chunks_of_held_out(data: Reals) -> Chunks:
    def chunks() -> Iterator[Tensor]:
        first = 0
        while len(some := data.held_out_floats(slice(first, first + _ROWS_AT_ONCE))):
            first += len(some)
            yield some

    return chunks
