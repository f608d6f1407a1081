"""JPEG, by the encoder and decoder that write and read the files (libjpeg).

    y = decode(encode(round((clip(x, -1, 1) + 1) 127.5), quality)) / 127.5 - 1

Blocks of 8 x 8 are transformed and rounded, so the derivative is 0 almost everywhere.
"""

import warnings
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg, encode_jpeg

from gan_gradflow.channels.base import Channel, ChannelTraits, nonfinite_kept


class JPEGChannel(Channel):
    """Images in [-1, 1] as they look after they were saved as JPEG.

    On the CPU; about 35 microseconds for a digit. Colour is coded as libjpeg does by
    default, with half the resolution of the brightness.

    Args:
        quality: 1 (smallest) to 100.
        on_reals: whether the discriminator sees reals after JPEG as well.
        on_samples: whether samples are shown and judged after JPEG.

    Raises:
        ValueError: `quality` is outside 1 .. 100.
    """

    traits = ChannelTraits(differentiable=False, deterministic=True)

    def __init__(self, quality: int, on_reals: bool, on_samples: bool) -> None:
        super().__init__(on_reals, on_samples)
        if not 1 <= quality <= 100:
            raise ValueError(f"quality must be from 1 to 100, got {quality}; try 30")
        self.quality = quality

    @torch.no_grad()
    def forward(self, samples: Float[Tensor, "n *event"]) -> Float[Tensor, "n *event"]:
        """Each image, encoded and decoded; NaN for pixels that are not finite.

        Raises:
            ValueError: the samples are not images of 1 or 3 channels.
        """
        self.received_shape(samples.shape[1:])
        mode = ImageReadMode.GRAY if samples.shape[1] == 1 else ImageReadMode.RGB
        pixels = ((samples.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        with warnings.catch_warnings():
            # torchvision wants to part with its decoders; Pillow's libjpeg gives the same
            # pixels, in four times the time.
            warnings.simplefilter("ignore", DeprecationWarning)
            files = encode_jpeg(list(pixels.cpu().contiguous()), self.quality)
            images = torch.stack([decode_jpeg(file, mode) for file in files])
        return nonfinite_kept(images.to(samples) / 127.5 - 1, samples)

    def received_shape(self, event_shape: Sequence[int]) -> tuple[int, ...]:
        """The same.

        Raises:
            ValueError: not images of 1 or 3 channels.
        """
        if len(event_shape) != 3 or event_shape[0] not in (1, 3):
            raise ValueError(
                f"JPEG takes images [1, height, width] or [3, height, width], and samples "
                f"are {list(event_shape)}; choose channel=identity or another data set"
            )
        return tuple(event_shape)
