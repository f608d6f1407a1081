"""MNIST in black and white: a pixel is white where it is brighter than a threshold."""

from collections.abc import Sequence

from torch import Tensor

from gan_gradflow.datamodules.base import DataSet
from gan_gradflow.datamodules.mnist import MNISTDataModule


class BinaryMNISTDataModule(MNISTDataModule):
    """Digits whose pixels are -1 or 1.

    Args:
        threshold: the brightness, 0 to 255, that a white pixel exceeds.
        root: the folder of data sets; the files are unpacked to `root/MNIST/raw`.
        event_shape: `[1, 28, 28]`.
        batch_size: samples in a batch, over all processes.
        seed: what the order of the samples follows from.
        num_iterations: the length of the training loader.
        batches_per_iteration: batches that one iteration takes: n_critic.

    Raises:
        ValueError: `threshold` is not from 0 to 254.
    """

    def __init__(
        self,
        threshold: int,
        root: str,
        event_shape: Sequence[int],
        batch_size: int,
        seed: int,
        num_iterations: int,
        batches_per_iteration: int,
    ) -> None:
        super().__init__(
            root, event_shape, batch_size, seed, num_iterations, batches_per_iteration
        )
        if not 0 <= threshold <= 254:
            raise ValueError(
                f"threshold must be from 0 to 254, got {threshold}; try 127"
            )
        self.threshold = threshold

    def load(self) -> DataSet:
        """Digits and their classes."""
        digits = super().load()
        return digits._replace(
            train_reals=self._binary(digits.train_reals),
            held_out=self._binary(digits.held_out),
        )

    def _binary(self, pixels: Tensor) -> Tensor:
        return (pixels > self.threshold).to(pixels.dtype) * 255
