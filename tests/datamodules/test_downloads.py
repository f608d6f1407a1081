from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch

from gan_gradflow.datamodules import cifar10, fashion_mnist
from gan_gradflow.datamodules.cifar10 import CIFAR10DataModule
from gan_gradflow.datamodules.downloads import download, read
from gan_gradflow.datamodules.fashion_mnist import FashionMNISTDataModule

REST = {"batch_size": 2, "seed": 0, "num_iterations": 1, "batches_per_iteration": 1}


class Stub:
    """Stands for a torchvision data set; `download` writes one file."""

    def __init__(self, root, train=True, download=False):
        if download:
            (Path(root) / "things").mkdir()
            (Path(root) / "things" / "file").write_text("complete")
        count = 6 if train else 2
        self.targets = torch.arange(count)
        self.data = torch.zeros(count, 28, 28, dtype=torch.uint8)


def offline(root, download):
    raise URLError("no route to host")


def test_a_download_is_moved_to_its_place(tmp_path):
    download(Stub, tmp_path, "things")
    assert (tmp_path / "things" / "file").read_text() == "complete"
    assert [entry.name for entry in tmp_path.iterdir()] == ["things"]


def test_what_is_there_is_not_downloaded(tmp_path):
    (tmp_path / "things").mkdir()
    download(offline, tmp_path, "things")
    assert not list((tmp_path / "things").iterdir())


def test_a_process_that_comes_second_keeps_the_first_ones_files(tmp_path):
    def overtaken(root, download):
        Stub(root, download=download)
        (tmp_path / "things").mkdir()
        (tmp_path / "things" / "file").write_text("first")

    download(overtaken, tmp_path, "things")
    assert (tmp_path / "things" / "file").read_text() == "first"


@pytest.mark.parametrize("error", [URLError("no route"), RuntimeError("no route")])
def test_without_internet_the_error_says_what_to_do(tmp_path, error):
    def failing(root, download):
        raise error

    with pytest.raises(ValueError, match=r"things is not in .*no route.*copy"):
        download(failing, tmp_path, "things")
    assert not list(tmp_path.iterdir())


def test_a_damaged_folder_is_named(tmp_path):
    def damaged(root, train):
        raise RuntimeError("Dataset not found")

    with pytest.raises(ValueError, match=r"things is incomplete.*delete"):
        read(damaged, tmp_path, "things", train=True)


def test_fashion_mnist_has_one_channel(tmp_path, monkeypatch):
    monkeypatch.setattr(fashion_mnist.datasets, "FashionMNIST", Stub)
    (tmp_path / "FashionMNIST").mkdir()
    data = FashionMNISTDataModule(str(tmp_path), (1, 28, 28), **REST)
    assert data.train_reals.shape == (6, 1, 28, 28)
    assert data.held_out_labels.tolist() == [0, 1]


def test_cifar10_has_its_channels_first(tmp_path, monkeypatch):
    class Photographs(Stub):
        def __init__(self, root, train=True):
            self.data = np.zeros((4, 32, 32, 3), dtype=np.uint8)
            self.data[:, 5, 7, 2] = 255
            self.targets = [0, 1, 2, 3]

    monkeypatch.setattr(cifar10.datasets, "CIFAR10", Photographs)
    (tmp_path / "cifar-10-batches-py").mkdir()
    data = CIFAR10DataModule(str(tmp_path), (3, 32, 32), **REST)
    assert data.train_reals.shape == (4, 3, 32, 32)
    assert data.train_floats(slice(1))[0, 2, 5, 7] == 1
