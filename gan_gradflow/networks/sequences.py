"""Token sequences from a recurrent network, and the oracle of a synthetic language.

    h_t = LSTM(embedding(x_{t-1}), h_{t-1}),    logits of x_t = W h_t

with a token before the first that stands for the start, and a learned h_0.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from gan_gradflow.networks.layers import require_positive
from gan_gradflow.networks.token_sequences import AutoregressiveNetwork


class AutoregressiveLSTM(AutoregressiveNetwork):
    """Choose it for short sequences: drawing costs the same for each token.

    Args:
        latent_dim: length of a latent, of which nothing is used.
        vocabulary: the number of tokens.
        event_shape: `[length]`.
        embedding: length of a token's embedding.
        hidden: units of the LSTM.

    Raises:
        ValueError: a size is below 1, or an event is not one number.
    """

    def __init__(
        self,
        latent_dim: int,
        vocabulary: int,
        event_shape: Sequence[int],
        embedding: int,
        hidden: int,
    ) -> None:
        super().__init__(latent_dim, vocabulary, event_shape)
        require_positive(embedding=embedding, hidden=hidden)
        self.embedding = nn.Embedding(
            vocabulary + 1, embedding
        )  # the last is the start
        self.cell = nn.LSTM(embedding, hidden, batch_first=True)
        self.to_logits = nn.Linear(hidden, vocabulary)
        self.start = nn.Parameter(torch.zeros(hidden))

    def features(
        self, tokens: Int[Tensor, "n length"], start: Float[Tensor, "n hidden"]
    ) -> Float[Tensor, "n length hidden"]:
        """What the LSTM makes of all tokens before each one."""
        first = torch.full_like(tokens[:, :1], self.vocabulary)
        before = self.embedding(torch.cat([first, tokens[:, :-1]], 1))
        return self.cell(before, _states(start))[0]

    def draw(self, start: Float[Tensor, "n hidden"]) -> Int[Tensor, "n length"]:
        """Sequences, token by token."""
        states = _states(start)
        last = torch.full((len(start), 1), self.vocabulary, device=start.device)
        drawn = []
        for _ in range(self.length):
            output, states = self.cell(self.embedding(last), states)
            last = self.chosen(self.to_logits(output[:, 0]))
            drawn.append(last)
        return torch.cat(drawn, 1)


class LSTMOracle(AutoregressiveLSTM):
    """A fixed LSTM whose weights are standard normal: data of known likelihood.

    The synthetic task of SeqGAN (Yu et al., AAAI 2017).

    Args:
        vocabulary: the number of tokens.
        event_shape: `[length]`.
        embedding: length of a token's embedding; 32 in the paper.
        hidden: units of the LSTM; 32 in the paper.
        seed: what the weights follow from.
    """

    def __init__(
        self,
        vocabulary: int,
        event_shape: Sequence[int],
        embedding: int,
        hidden: int,
        seed: int,
    ) -> None:
        super().__init__(1, vocabulary, event_shape, embedding, hidden)
        generator = torch.Generator().manual_seed(seed)
        for name, weight in self.named_parameters():
            # An LSTM of torch adds two biases, and has one too many; it starts at zero.
            if name not in ("start", "cell.bias_hh_l0"):
                nn.init.normal_(weight, generator=generator)
        nn.init.zeros_(self.cell.bias_hh_l0)  # type: ignore[arg-type]
        self.requires_grad_(False)

    @torch.no_grad()
    def sequences(self, count: int, seed: int) -> Int[Tensor, "count length"]:
        """Sequences that follow from the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self(torch.zeros(count, 1)).sample()

    @torch.no_grad()
    def token_nll(self, tokens: Shaped[Tensor, "n length"]) -> float:
        """The mean negative log-likelihood of a token, in nats."""
        chunks = tokens.split(500)
        scored = [self(torch.zeros(len(c), 1)).token_log_prob(c) for c in chunks]
        return -torch.cat(scored).mean().item()


def _states(start: Tensor) -> tuple[Tensor, Tensor]:
    hidden = start.unsqueeze(0).contiguous()
    return hidden, torch.zeros_like(hidden)
