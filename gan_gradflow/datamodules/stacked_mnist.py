"""Stacked MNIST: independent random digits as the channels of one image.

    x = [digit_1; ..; digit_C],    label = sum_c class_c 10^(c - 1)

so 10^C modes, all known, and about equally likely.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gan_gradflow.datamodules.base import DataSet
from gan_gradflow.datamodules.mnist import MNISTDataModule
from gan_gradflow.datamodules.seeding import generator_for


class StackedMNISTDataModule(MNISTDataModule):
    """Three digits of MNIST as red, green and blue: a thousand modes; fewer if asked.

    The digits of an image are drawn once from the seed, with replacement; 60 000 images
    of three digits take 141 MB. Metz et al., ICLR 2017; Lin et al. (PacGAN), NeurIPS 2018.

    Args:
        root: the folder of data sets; MNIST is unpacked to `root/MNIST/raw`.
        num_train: training images.
        num_held_out: images of digits that training never sees.
        event_shape: `[C, 28, 28]` for C digits.
        batch_size: samples in a batch, over all processes.
        seed: what the digits and the order of the samples follow from.
        num_iterations: the length of the training loader.
        batches_per_iteration: batches that one iteration takes: n_critic.

    Raises:
        ValueError: a number of images is below 1, or `event_shape` is not that of digits.
    """

    def __init__(
        self,
        root: str,
        num_train: int,
        num_held_out: int,
        event_shape: Sequence[int],
        batch_size: int,
        seed: int,
        num_iterations: int,
        batches_per_iteration: int,
    ) -> None:
        super().__init__(
            root, event_shape, batch_size, seed, num_iterations, batches_per_iteration
        )
        if min(num_train, num_held_out) < 1:
            raise ValueError(
                "num_train and num_held_out must be at least 1, got "
                f"{num_train} and {num_held_out}; try 60000 and 10000"
            )
        if len(self.event_shape) != 3 or self.event_shape[1:] != (28, 28):
            raise ValueError(
                f"event_shape must be [digits,28,28], got {list(event_shape)}; use "
                "data.event_shape=[3,28,28]"
            )
        self.num_train = num_train
        self.num_held_out = num_held_out

    def load(self) -> DataSet:
        """Stacks of digits, and the number that their classes spell."""
        digits = super().load()
        assert digits.train_labels is not None
        assert digits.held_out_labels is not None
        train = self._stacked(
            digits.train_reals, digits.train_labels, self.num_train, "train"
        )
        held_out = self._stacked(
            digits.held_out, digits.held_out_labels, self.num_held_out, "held out"
        )
        return DataSet(*train, *held_out)

    def _stacked(
        self, reals: Tensor, labels: Tensor, count: int, split: str
    ) -> tuple[Tensor, Tensor]:
        channels = self.event_shape[0]
        generator = generator_for(self.seed, "stacks", split)
        rows = torch.randint(len(reals), (count, channels), generator=generator)
        place = 10 ** torch.arange(channels)
        return reals[rows].squeeze(2), (labels[rows] * place).sum(1)
