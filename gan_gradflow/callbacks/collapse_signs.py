"""What there is to see of a collapse, on n fakes of the raw generator and n reals.

    spread    mean distance between fakes, as a share of the reals',
    modes     effective number of modes, as a share of the reals' (`metrics.diversity`),
    accuracy  share of the n^2 pairs of a real and a fake in which the discriminator
              scores the real higher: 1/2 where it cannot tell them apart,
    margin    mean score of reals - mean score of fakes, in standard deviations of the
              reals' scores.

Accuracy and margin stay the same when a constant is added to every score, so they mean
the same for every objective. The reals are held out: scores of reals that the
discriminator learned by heart would flatter it.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import lightning as L
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gan_gradflow.metrics.diversity import Diversity, DiversityGauge
from gan_gradflow.modules.freezing import frozen

_REAL_BATCHES = 8  # at most, from which the reals' own figures are taken


class Signs(NamedTuple):
    """What one measurement found."""

    spread: float
    modes: float
    accuracy: float
    margin: float


class CollapseSigns:
    """Measures both players as they are; changes neither, and draws from its own seed.

    Args:
        held_out: reals that training never sees.
        labels: their classes, if there are any.
        features: what tells samples apart.
        num_samples: n; fewer if there are not twice as many reals, or if they do not make
            up packs.
        seed: what latents and the choice of reals follow from.
        pack_size: samples that the discriminator scores together.

    Raises:
        ValueError: not enough reals or samples for two packs, or reals that are all alike.
    """

    def __init__(
        self,
        held_out: Float[Tensor, "reals *event"],
        labels: Int[Tensor, " reals"] | None,
        features: Callable[[Tensor], Tensor],
        num_samples: int,
        seed: int,
        pack_size: int,
    ) -> None:
        least = 2 * pack_size  # two scores: they have a deviation
        if num_samples < least:
            raise ValueError(
                f"num_samples is {num_samples}, and packs of {pack_size} need at least "
                f"{least}; raise it"
            )
        if len(held_out) < 2 * least:
            raise ValueError(
                f"there are {len(held_out)} held-out samples, and telling how varied they "
                f"are takes at least {2 * least}; raise data.num_held_out or "
                "data.held_out_share"
            )
        size = min(num_samples, len(held_out) // 2)
        size -= size % pack_size
        count = min(_REAL_BATCHES, len(held_out) // size)
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randperm(len(held_out), generator=generator)[: size * count]
        batches = held_out[rows].split(size)
        self.seed = seed
        self.features = features
        self.reals = batches[0]
        self.labels = None if labels is None else labels[rows[:size]]
        self.gauge = DiversityGauge(torch.stack([features(b) for b in batches]))

    @property
    def least(self) -> Diversity:
        """The lowest shares that a batch of reals itself has."""
        least, mean = self.gauge.least_of_reals, self.gauge.reals
        return Diversity(least.spread / mean.spread, least.modes / mean.modes)

    def measure(self, pl_module: L.LightningModule) -> Signs:
        """What there is to see now; of fakes that are not numbers, no spread or modes.

        Accuracy and margin are NaN where a score is.
        """
        latents = torch.randn(
            len(self.reals),
            pl_module.generator.latent_dim,
            generator=torch.Generator().manual_seed(self.seed),
        ).to(pl_module.device)
        fakes = pl_module.generator.received(latents, averaged=False)
        features = self.features(fakes)
        finite = bool(features.isfinite().all())
        diversity = self.gauge.share(features) if finite else Diversity(0.0, 0.0)
        reals = pl_module.received_reals(self.reals.to(pl_module.device))
        classes = pl_module.generator.labels_for(len(fakes))
        reals_score = _scores(pl_module, reals, self.labels)
        fakes_score = _scores(pl_module, fakes, classes)
        return Signs(
            *diversity,
            accuracy=_accuracy(reals_score, fakes_score),
            margin=_margin(reals_score, fakes_score),
        )


def _scores(
    pl_module: L.LightningModule, samples: Tensor, labels: Tensor | None
) -> Float[Tensor, " n"]:
    """The discriminator's scores in evaluation mode; it stays as it is."""
    discriminator = pl_module.discriminator
    was_training = discriminator.training
    discriminator.eval()
    try:
        with torch.no_grad(), frozen(discriminator):
            if labels is not None:
                labels = labels.to(pl_module.device)
            return discriminator(samples.to(pl_module.device), labels).double()
    finally:
        discriminator.train(was_training)


def _accuracy(reals: Float[Tensor, " n"], fakes: Float[Tensor, " n"]) -> float:
    if reals.isnan().any() or fakes.isnan().any():
        return math.nan  # NaN > x is False, which would count as wrong
    return (reals[:, None] > fakes).double().mean().item()


def _margin(reals: Float[Tensor, " n"], fakes: Float[Tensor, " n"]) -> float:
    deviation = reals.std().clamp(min=torch.finfo(reals.dtype).tiny)
    return ((reals.mean() - fakes.mean()) / deviation).item()
