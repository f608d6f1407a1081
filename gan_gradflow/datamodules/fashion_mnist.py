"""Fashion-MNIST: ten kinds of clothing in the format of MNIST, [1, 28, 28]."""

from collections.abc import Sequence
from pathlib import Path

from torchvision import datasets

from gan_gradflow.datamodules.base import DataSet, TensorDataModule
from gan_gradflow.datamodules.downloads import download, read


class FashionMNISTDataModule(TensorDataModule):
    """Fashion-MNIST: 60 000 images for training, 10 000 held out; needs a download.

    H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747.

    Args:
        root: the folder of data sets; the files are put into `root/FashionMNIST`.
        event_shape: `[1, 28, 28]`.
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
        download(datasets.FashionMNIST, self.root, "FashionMNIST")

    def load(self) -> DataSet:
        """Images and their classes."""
        self.prepare_data()
        train = read(datasets.FashionMNIST, self.root, "FashionMNIST", train=True)
        held_out = read(datasets.FashionMNIST, self.root, "FashionMNIST", train=False)
        return DataSet(
            train.data[:, None], train.targets, held_out.data[:, None], held_out.targets
        )
