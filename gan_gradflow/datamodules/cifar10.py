"""CIFAR-10: colour photographs of ten kinds of things, [3, 32, 32]."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torchvision import datasets

from gan_gradflow.datamodules.base import DataSet, TensorDataModule
from gan_gradflow.datamodules.downloads import download, read

_FOLDER = "cifar-10-batches-py"


class CIFAR10DataModule(TensorDataModule):
    """CIFAR-10: 50 000 images for training, 10 000 held out; needs a download.

    A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.

    Args:
        root: the folder of data sets; the files are put into `root/cifar-10-batches-py`.
        event_shape: `[3, 32, 32]`.
        batch_size: samples in a batch, over all processes.
        seed: what the order of the samples follows from.
        num_iterations: the length of the training loader.
        batches_per_iteration: batches that one iteration takes: n_critic.
    """

    def __init__(
        self,
        root: str,
        event_shape: Sequence[int],
        batch_size: int,
        seed: int,
        num_iterations: int,
        batches_per_iteration: int,
    ) -> None:
        super().__init__(
            event_shape, batch_size, seed, num_iterations, batches_per_iteration
        )
        self.root = Path(root)

    def prepare_data(self) -> None:
        """Download the files, unless they are there.

        Raises:
            ValueError: `root` cannot be written, or there is no internet.
        """
        download(datasets.CIFAR10, self.root, _FOLDER)

    def load(self) -> DataSet:
        """Images and their classes."""
        self.prepare_data()
        return DataSet(*self._split(train=True), *self._split(train=False))

    def _split(self, train: bool) -> tuple[Tensor, Tensor]:
        split = read(datasets.CIFAR10, self.root, _FOLDER, train)
        reals = torch.as_tensor(split.data).permute(0, 3, 1, 2).contiguous()
        return reals, torch.as_tensor(split.targets)
