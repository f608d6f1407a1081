"""Lines of a text file as sequences of tokens: characters, or words.

A line is cut or filled up to a fixed length. Token 0 fills, token 1 stands for what is not
in the vocabulary, and the others are the most frequent characters or words, in order. A
checkpoint keeps them, so that what was generated can be read without the file.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan_gradflow.datamodules.base import DataSet, TensorDataModule
from gan_gradflow.datamodules.lexicon import Lexicon, Unit
from gan_gradflow.datamodules.seeding import generator_for


class TextLinesDataModule(TensorDataModule):
    """Any file with one text a line; empty lines are left out.

    Args:
        path: the file, UTF-8.
        unit: what a token is.
        vocabulary: the number of tokens, the two special ones included.
        held_out_share: the share of the lines that training never sees.
        event_shape: `[length]`, in tokens.
        batch_size: samples in a batch, over all processes.
        seed: what the choice of lines and their order follow from.
        num_iterations: the length of the training loader.
        batches_per_iteration: batches that one iteration takes: n_critic.

    Raises:
        ValueError: `vocabulary` is below 3, or `held_out_share` outside (0, 1).

    Attributes:
        lexicon: which token stands for what; empty before the file was read.
    """

    def __init__(
        self,
        path: str,
        unit: Unit,
        vocabulary: int,
        held_out_share: float,
        event_shape: Sequence[int],
        batch_size: int,
        seed: int,
        num_iterations: int,
        batches_per_iteration: int,
    ) -> None:
        super().__init__(
            event_shape, batch_size, seed, num_iterations, batches_per_iteration
        )
        if vocabulary < 3:
            raise ValueError(
                f"vocabulary must be at least 3, got {vocabulary}; try 100"
            )
        if not 0 < held_out_share < 1:
            raise ValueError(
                f"held_out_share must be above 0 and below 1, got {held_out_share}; try 0.1"
            )
        self.path = Path(path)
        self.unit = unit
        self.vocabulary = vocabulary
        self.held_out_share = held_out_share
        self.lexicon = Lexicon([], unit)

    def load(self) -> DataSet:
        """Read the file and number its tokens by their frequency.

        Raises:
            ValueError: the file is missing, is no text, or has fewer than two lines.
        """
        lines = self._lines()
        if len(lines) < 2:
            raise ValueError(
                f"{self.path} has {len(lines)} lines of text; at least two are needed"
            )
        self.lexicon = Lexicon.of(lines, self.unit, self.vocabulary)
        (length,) = self.event_shape
        encoded = torch.stack([self.lexicon.encoded(line, length) for line in lines])
        generator = generator_for(self.seed, "held out")
        encoded = encoded[torch.randperm(len(encoded), generator=generator)]
        first = min(len(lines) - 1, max(1, round(self.held_out_share * len(lines))))
        return DataSet(encoded[first:], None, encoded[:first], None)

    def units(self, tokens: Tensor) -> list[str]:
        """The characters or words of a sequence of tokens."""
        return self.lexicon.units(tokens)

    def text(self, tokens: Tensor) -> str:
        """What a sequence of tokens says."""
        return self.lexicon.text(tokens)

    def state_dict(self) -> dict[str, Any]:
        """The lexicon, for the checkpoint."""
        return self.lexicon.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to restore: the file is read again, and has to say the same.

        Raises:
            ValueError: its tokens are others than those of the checkpoint.
        """
        self.setup()
        if state_dict != self.lexicon.state:
            raise ValueError(
                f"{self.path} is not the file that the run began with: its frequent "
                f"{self.unit}s are others; give that file back, or start a new run"
            )

    def _lines(self) -> list[str]:
        try:
            text = self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"cannot read {self.path} as text: {error}") from error
        return [line.strip() for line in text.splitlines() if line.strip()]
