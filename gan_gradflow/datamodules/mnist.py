"""MNIST handwritten digits: 60 000 for training, 10 000 held out, [1, 28, 28].

The four IDX files come with the package, gzipped, and are unpacked once; see
`data/README.md` for their source, licence and checksums.
"""

import gzip
import hashlib
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from torchvision import datasets

from gan_gradflow.datamodules.base import DataSet, TensorDataModule
from gan_gradflow.datamodules.downloads import download, read, writable

_CHECKSUMS = {
    "train-images-idx3-ubyte": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "train-labels-idx1-ubyte": (
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    "t10k-images-idx3-ubyte": (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    "t10k-labels-idx1-ubyte": (
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
}
_PACKAGE = Path(__file__).resolve().parents[1]
# In a wheel the archives are inside the package, in a clone beside it.
_ARCHIVE_FOLDERS = (_PACKAGE / "data" / "mnist", _PACKAGE.parent / "data" / "mnist")


class MNISTDataModule(TensorDataModule):
    """MNIST from the files that come with the package; no internet needed.

    The data set of Y. LeCun, C. Cortes and C. J. C. Burges, CC BY-SA 3.0.

    Args:
        root: the folder of data sets; the files are unpacked to `root/MNIST/raw`.
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
        """Unpack the four files where they are missing, and verify all of them.

        Two processes may do so at once: each writes a file of its own and moves it into
        place.

        Raises:
            ValueError: `root` cannot be written, or a file is damaged.
        """
        archives = next((f for f in _ARCHIVE_FOLDERS if f.is_dir()), None)
        if archives is None:
            download(datasets.MNIST, self.root, "MNIST")
            return
        for name, checksum in _CHECKSUMS.items():
            unpacked = self.root / "MNIST" / "raw" / name
            if not unpacked.exists():
                _unpack(archives / f"{name}.gz", unpacked, checksum)
            elif (seen := _sha256(unpacked.read_bytes())) != checksum:
                raise ValueError(
                    f"{unpacked} is damaged: its SHA-256 should be {checksum} and is "
                    f"{seen}; delete the file, and it will be unpacked anew"
                )

    def load(self) -> DataSet:
        """Digits and their classes, from the unpacked files."""
        self.prepare_data()
        train = read(datasets.MNIST, self.root, "MNIST", train=True)
        held_out = read(datasets.MNIST, self.root, "MNIST", train=False)
        return DataSet(
            train.data[:, None], train.targets, held_out.data[:, None], held_out.targets
        )


def _unpack(archive: Path, unpacked: Path, checksum: str) -> None:
    try:
        content = gzip.decompress(archive.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{archive} cannot be unpacked ({error}); the file it holds has SHA-256 "
            f"{checksum}: restore it with git, or install the package again"
        ) from error
    if (seen := _sha256(content)) != checksum:
        raise ValueError(
            f"{archive} is damaged: the SHA-256 of its content should be {checksum} and "
            f"is {seen}; restore it with git, or install the package again"
        )
    folder = writable(unpacked.parent)
    with tempfile.TemporaryDirectory(dir=folder) as partial:
        complete = Path(partial) / unpacked.name
        complete.write_bytes(content)
        complete.replace(unpacked)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
