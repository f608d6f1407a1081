"""What every measure of sample quality shares.

A measure keeps what it needs of the reals once (`prepare`), then maps `num_samples` fakes
to named figures. Figures of different sample counts do not compare, so the count is part
of the measure. `floor` says what a generator as good as the data itself would score.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Reals(Protocol):
    """What a measure may ask of the data; every data module of the project fits."""

    event_shape: tuple[int, ...]
    train_reals: Tensor

    def train_floats(self, rows: slice | Tensor) -> Tensor:
        """Training samples, images in [-1, 1]."""

    def held_out_floats(self, rows: slice | Tensor) -> Tensor:
        """Samples that training never sees."""


class NonFiniteFakesError(ValueError):
    """Fakes to be measured hold NaN or infinity."""


class SampleQuality(ABC):
    """Maps fakes to figures. Changes no gradient and draws nothing from a global state.

    Args:
        num_samples: how many fakes one measurement takes.

    Attributes:
        primary: the key of the main figure, of which lower is better; None for none.
    """

    primary: ClassVar[str | None]

    def __init__(self, num_samples: int) -> None:
        self.num_samples = num_samples

    @abstractmethod
    def prepare(self, data: Reals) -> None:
        """Compute and keep what is needed of the reals.

        Raises:
            ValueError: this measure does not fit these data.
        """

    @abstractmethod
    def measure(self, fakes: Float[Tensor, "n *event"]) -> dict[str, float]:
        """The figures of fakes that have been checked."""

    @abstractmethod
    def floor(self) -> dict[str, float]:
        """The figures of samples as good as the data: no generator can expect better."""

    def features(self, samples: Float[Tensor, "n *event"]) -> Float[Tensor, "n dim"]:
        """What tells samples apart in this measure: here their elements."""
        return samples.flatten(1)

    @torch.no_grad()
    def __call__(self, fakes: Float[Tensor, "n *event"]) -> dict[str, float]:
        """The figures of `num_samples` fakes.

        Raises:
            NonFiniteFakesError: some are not finite.
            ValueError: another number of fakes.
        """
        if len(fakes) != self.num_samples:
            raise ValueError(
                f"{type(self).__name__} measures {self.num_samples} fakes, got "
                f"{len(fakes)}; set metrics.num_samples={len(fakes)}, but note that "
                "figures of different counts do not compare"
            )
        refuse_nonfinite(fakes)
        return self.measure(fakes.detach())


def refuse_nonfinite(fakes: Float[Tensor, "n *event"]) -> None:
    """Raise a NonFiniteFakesError if an element is NaN or infinite."""
    bad = int((~fakes.flatten(1).isfinite().all(1)).sum())
    if bad:
        raise NonFiniteFakesError(
            f"{bad} of {len(fakes)} fakes hold NaN or infinity: the generator has "
            "diverged; go back to an earlier checkpoint or lower its learning rate"
        )
