"""Token sequences drawn from an oracle, whose likelihood of anything can be asked."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from gan_gradflow.datamodules.base import DataSet, TensorDataModule
from gan_gradflow.datamodules.seeding import seed_for


@runtime_checkable
class SequenceOracle(Protocol):
    """What there is to know of the data."""

    def sequences(self, count: int, seed: int) -> Tensor:
        """Tokens `[count, length]` that follow from the seed."""

    def token_nll(self, tokens: Tensor) -> float:
        """The mean negative log-likelihood of a token, in nats."""


class OracleSequencesDataModule(TensorDataModule):
    """Synthetic language, drawn once from the seed.

    Args:
        oracle: what draws the sequences, and judges others.
        vocabulary: the number of tokens.
        num_train: training sequences.
        num_held_out: sequences that training never sees.
        event_shape: `[length]`.
        batch_size: samples in a batch, over all processes.
        seed: what the sequences and their order follow from.
        num_iterations: the length of the training loader.
        batches_per_iteration: batches that one iteration takes: n_critic.

    Raises:
        ValueError: a number of sequences is below 1.
    """

    def __init__(
        self,
        oracle: SequenceOracle,
        vocabulary: int,
        num_train: int,
        num_held_out: int,
        event_shape: Sequence[int],
        batch_size: int,
        seed: int,
        num_iterations: int,
        batches_per_iteration: int,
    ) -> None:
        super().__init__(
            event_shape, batch_size, seed, num_iterations, batches_per_iteration
        )
        if min(num_train, num_held_out) < 1:
            raise ValueError(
                "num_train and num_held_out must be at least 1, got "
                f"{num_train} and {num_held_out}; try 10000 and 1000"
            )
        self.oracle = oracle
        self.vocabulary = vocabulary
        self.num_train = num_train
        self.num_held_out = num_held_out

    def load(self) -> DataSet:
        """Draw the sequences."""
        train = self.oracle.sequences(self.num_train, seed_for(self.seed, "train"))
        held_out = self.oracle.sequences(
            self.num_held_out, seed_for(self.seed, "held out")
        )
        return DataSet(train, None, held_out, None)
