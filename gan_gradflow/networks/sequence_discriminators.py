"""Scores of token sequences: by convolutions, or by a recurrent network.

convolutional  embeddings -> convolutions of several widths -> the largest response of
               each over the positions -> linear -> one score
recurrent      embeddings -> LSTM -> linear -> a score after each position, of which
               the last is the sequence's, or all are its rewards
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from gan_gradflow.networks.layers import require_positive


class ConvolutionalSequenceDiscriminator(nn.Module):
    """One score for each sequence; sees short patterns wherever they are. Kim, EMNLP 2014.

    Args:
        vocabulary: the number of tokens.
        event_shape: `[length]`.
        embedding: length of a token's embedding.
        kernels: the widths of the convolutions, none above the length.
        width: responses of each convolution.

    Raises:
        ValueError: a size is below 1, or a kernel does not fit into a sequence.
    """

    def __init__(
        self,
        vocabulary: int,
        event_shape: Sequence[int],
        embedding: int,
        kernels: Sequence[int],
        width: int,
    ) -> None:
        super().__init__()
        require_positive(vocabulary=vocabulary, embedding=embedding, width=width)
        if not kernels or min(kernels) < 1 or max(kernels) > event_shape[0]:
            raise ValueError(
                f"kernels are {list(kernels)}; give at least one, from 1 to the length "
                f"{event_shape[0]}"
            )
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(embedding, width, kernel) for kernel in kernels
        )
        self.to_score = nn.Linear(width * len(kernels), 1)

    def forward(self, tokens: Shaped[Tensor, "n length"]) -> Float[Tensor, " n"]:
        """One raw score for each sequence."""
        embedded = self.embedding(tokens.long()).transpose(1, 2)
        responses = [conv(embedded).relu().amax(2) for conv in self.convolutions]
        return self.to_score(torch.cat(responses, 1)).squeeze(1)


class RecurrentSequenceDiscriminator(nn.Module):
    """One score for each sequence, or one for each position of it.

    A score for each position, of the tokens up to there, is a dense reward: see the bridge
    `reward_to_go`. De Masson d'Autume et al. (ScratchGAN), NeurIPS 2019.

    Args:
        vocabulary: the number of tokens.
        event_shape: `[length]`.
        embedding: length of a token's embedding.
        hidden: units of the LSTM.
        per_position: scores `[n, length]` instead of `[n]`.

    Raises:
        ValueError: a size is below 1.
    """

    def __init__(
        self,
        vocabulary: int,
        event_shape: Sequence[int],
        embedding: int,
        hidden: int,
        per_position: bool,
    ) -> None:
        super().__init__()
        require_positive(vocabulary=vocabulary, embedding=embedding, hidden=hidden)
        self.per_position = per_position
        self.event_shape = tuple(event_shape)
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.cell = nn.LSTM(embedding, hidden, batch_first=True)
        self.to_score = nn.Linear(hidden, 1)

    def forward(
        self, tokens: Shaped[Tensor, "n length"]
    ) -> Float[Tensor, " n"] | Float[Tensor, "n length"]:
        """Raw scores."""
        scores = self.to_score(self.cell(self.embedding(tokens.long()))[0]).squeeze(-1)
        return scores if self.per_position else scores[:, -1]
