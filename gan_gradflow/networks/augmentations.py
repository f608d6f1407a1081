"""Differentiable augmentation: the discriminator sees reals and fakes moved and changed.

    T(x, r),    r drawn for each sample, before it is asked about

Both players' losses are on T of reals and of fakes, so with few data the discriminator
cannot learn them by heart, and what it sees of fakes still moves the generator: T is
differentiable in x. Zhao et al., NeurIPS 2020.

The draws r are made apart from what is done with them, because a bridge asks about one
sample several times: all its questions have to meet the same r, or a finite difference
would be one between two augmentations, divided by its step.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


class Augmentation(ABC):
    """What happens to a sample in front of the discriminator.

    Attributes:
        num_draws: uniform numbers on [0, 1) that one sample takes.
    """

    num_draws: int

    @abstractmethod
    def __call__(
        self, samples: Shaped[Tensor, "n *event"], draws: Float[Tensor, "n draws"]
    ) -> Shaped[Tensor, "n *event"]:
        """The samples as the discriminator sees them, a function of both arguments.

        Raises:
            ValueError: these samples cannot be augmented so.
        """


class NoAugmentation(Augmentation):
    """Samples as they are, at no cost."""

    num_draws = 0

    def __call__(
        self,
        samples: Shaped[Tensor, "n *event"],
        draws: Float[Tensor, "n draws"],  # noqa: ARG002
    ) -> Shaped[Tensor, "n *event"]:
        """The samples."""
        return samples


class ImageAugmentation(Augmentation):
    """Brightness, contrast, a translation and a square cut out of an image.

    A zero leaves its part out; what is moved in or cut out is 0, a middle grey. Choose it
    with few images: a few thousand at most. A cheap elementwise pass for each score.

    Args:
        brightness: an image gets up to half of this brighter or darker.
        contrast: deviations from the image's mean are scaled by 1 - contrast .. 1 +
            contrast.
        translation: the largest shift, as a share of the side.
        cutout: the side of the square that is cut out, as a share of the side.

    Raises:
        ValueError: a number is out of range.
    """

    num_draws = 6

    def __init__(
        self, brightness: float, contrast: float, translation: float, cutout: float
    ) -> None:
        if brightness < 0:
            raise ValueError(f"brightness must not be negative, got {brightness}")
        for name, value in (
            ("contrast", contrast),
            ("translation", translation),
            ("cutout", cutout),
        ):
            if not 0 <= value < 1:
                raise ValueError(f"{name} must be in [0, 1), got {value}; try 0.125")
        self.brightness = brightness
        self.contrast = contrast
        self.translation = translation
        self.cutout = cutout

    def __call__(
        self,
        samples: Float[Tensor, "n *event"],
        draws: Float[Tensor, "n draws"],
    ) -> Float[Tensor, "n *event"]:
        """The images, recoloured, moved and cut."""
        if samples.ndim != 4:
            raise ValueError(
                f"images are [channels, height, width], and these samples are "
                f"{list(samples.shape[1:])}; choose augmentation=none"
            )
        light, contrast, *places = draws.to(samples.dtype).T
        mean = samples.mean((1, 2, 3), keepdim=True)
        gain = 1 + self.contrast * (2 * contrast - 1)
        samples = mean + gain.view(-1, 1, 1, 1) * (samples - mean)
        samples = samples + self.brightness * (light - 0.5).view(-1, 1, 1, 1)
        return self._cut(self._moved(samples, *places[:2]), *places[2:])

    def _moved(self, samples: Tensor, *shares: Tensor) -> Tensor:
        for dim, share in zip((2, 3), shares, strict=True):
            side = samples.shape[dim]
            reach = int(self.translation * side + 0.5)
            shift = (share * (2 * reach + 1)).floor().long() - reach
            place = torch.arange(side, device=samples.device) + shift.unsqueeze(1)
            inside = ((place >= 0) & (place < side)).to(samples.dtype)
            shape = [len(samples), 1, 1, 1]
            shape[dim] = side
            index = place.clamp(0, side - 1).view(shape).expand(samples.shape)
            samples = samples.gather(dim, index) * inside.view(shape)
        return samples

    def _cut(self, samples: Tensor, *shares: Tensor) -> Tensor:
        cut = torch.ones_like(samples[:, :1])
        for dim, share in zip((2, 3), shares, strict=True):
            side = samples.shape[dim]
            size = int(self.cutout * side + 0.5)
            # The square may reach over the edge, so that every pixel is cut as often.
            first = (share * (side + size)).floor() - size
            place = torch.arange(side, device=samples.device) - first.unsqueeze(1)
            inside = ((place >= 0) & (place < size)).to(samples.dtype)
            shape = [len(samples), 1, 1, 1]
            shape[dim] = side
            cut = cut * inside.view(shape)
        return samples * (1 - cut)
