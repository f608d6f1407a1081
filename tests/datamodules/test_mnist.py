import gzip
import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from gan_gradflow.datamodules import mnist
from gan_gradflow.datamodules.mnist import MNISTDataModule

NAMES = list(mnist._CHECKSUMS)


def module(root):
    return MNISTDataModule(
        root=str(root), event_shape=(1, 28, 28), batch_size=64, seed=0,
        num_iterations=10, batches_per_iteration=2,
    )  # fmt: skip


@pytest.fixture
def archives(tmp_path, monkeypatch):
    """Four small archives in place of the real ones."""
    folder = tmp_path / "archives"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.gz").write_bytes(gzip.compress(name.encode() * 1000))
    checksums = {n: hashlib.sha256(n.encode() * 1000).hexdigest() for n in NAMES}
    monkeypatch.setattr(mnist, "_CHECKSUMS", checksums)
    monkeypatch.setattr(mnist, "_ARCHIVE_FOLDERS", (folder,))
    return folder


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "root" / "MNIST" / "raw"


def test_the_digits_come_with_the_package(tmp_path):
    data = module(tmp_path)
    assert data.train_reals.shape == (60_000, 1, 28, 28)
    assert data.held_out.shape == (10_000, 1, 28, 28)
    assert data.train_reals.dtype == torch.uint8
    assert data.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.held_out_labels[:5].tolist() == [7, 2, 1, 0, 4]
    batch = data.train_dataloader().batch(0)
    assert batch.reals.shape == (2, 64, 1, 28, 28)
    assert (batch.reals.min(), batch.reals.max()) == (-1, 1)


def test_unpacking_leaves_the_four_files_and_nothing_else(archives, tmp_path, raw):
    module(tmp_path / "root").prepare_data()
    assert sorted(file.name for file in raw.iterdir()) == sorted(NAMES)


def test_processes_that_unpack_at_once_agree(archives, tmp_path, raw):
    modules = [module(tmp_path / "root") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(MNISTDataModule.prepare_data, modules))
    assert sorted(file.name for file in raw.iterdir()) == sorted(NAMES)


def test_unpacked_files_are_not_written_again(archives, tmp_path, raw):
    module(tmp_path / "root").prepare_data()
    before = [file.stat().st_mtime_ns for file in sorted(raw.iterdir())]
    module(tmp_path / "root").prepare_data()
    assert [file.stat().st_mtime_ns for file in sorted(raw.iterdir())] == before


def test_a_truncated_archive_is_named(archives, tmp_path):
    archive = archives / f"{NAMES[1]}.gz"
    archive.write_bytes(archive.read_bytes()[:-12])
    with pytest.raises(ValueError, match=rf"{NAMES[1]}.gz cannot be unpacked.*git"):
        module(tmp_path / "root").prepare_data()


def test_an_archive_of_something_else_is_named_with_both_checksums(archives, tmp_path):
    (archives / f"{NAMES[2]}.gz").write_bytes(gzip.compress(b"something else"))
    seen = hashlib.sha256(b"something else").hexdigest()
    expected = mnist._CHECKSUMS[NAMES[2]]
    with pytest.raises(ValueError, match=rf"{NAMES[2]}.gz .*{expected}.*{seen}"):
        module(tmp_path / "root").prepare_data()


def test_a_damaged_unpacked_file_is_named_with_both_checksums(archives, tmp_path, raw):
    module(tmp_path / "root").prepare_data()
    (raw / NAMES[3]).write_bytes(b"half")
    seen = hashlib.sha256(b"half").hexdigest()
    expected = mnist._CHECKSUMS[NAMES[3]]
    with pytest.raises(ValueError, match=rf"{NAMES[3]} .*{expected}.*{seen}.*delete"):
        module(tmp_path / "root").prepare_data()


def test_a_root_that_cannot_be_written_is_named(archives, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"file/MNIST/raw .*GAN_GRADFLOW_DATA"):
        module(tmp_path / "file").prepare_data()


def test_without_archives_the_digits_are_downloaded(tmp_path, monkeypatch):
    monkeypatch.setattr(mnist, "_ARCHIVE_FOLDERS", (tmp_path / "nowhere",))
    asked = []
    monkeypatch.setattr(mnist, "download", lambda *arguments: asked.append(arguments))
    module(tmp_path).prepare_data()
    assert asked == [(mnist.datasets.MNIST, tmp_path, "MNIST")]
