"""Sequences of tokens, each drawn given those before it.

    p(x_1 .. x_L) = prod_t softmax(W h_t)[x_t],    h_t = LSTM(embedding(x_{t-1}), h_{t-1})

with a token before the first that stands for the start. Drawing takes L steps without a
graph; the log-probability of what was drawn takes one pass, with the graph on the logits.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from gan_gradflow.networks.layers import require_positive


class TokenSequences(Distribution):
    """What an autoregressive network emits: one distribution over sequences per latent.

    Args:
        network: supplies the logits of each next token.
        start: the hidden state at the start, `[batch, hidden]`, with its graph.
    """

    arg_constraints = {}  # noqa: RUF012
    has_rsample = False
    support = constraints.independent(constraints.nonnegative_integer, 1)

    def __init__(
        self, network: "AutoregressiveLSTM", start: Float[Tensor, "batch hidden"]
    ) -> None:
        super().__init__(start.shape[:1], torch.Size([network.length]), False)
        self.network = network
        self.start = start

    @torch.no_grad()
    def sample(
        self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()
    ) -> Int[Tensor, "*shape length"]:
        """Tokens `[*sample_shape, batch, length]`."""
        shape = (*sample_shape, *self.start.shape)
        start = self.start.expand(shape).reshape(-1, self.start.shape[-1])
        drawn = self.network.draw(start)
        return drawn.reshape(*shape[:-1], self.network.length)

    def log_prob(
        self, value: Shaped[Tensor, "*shape length"]
    ) -> Float[Tensor, "*shape"]:
        """The log-probability of whole sequences."""
        return self.token_log_prob(value).sum(-1)

    def token_log_prob(
        self, value: Shaped[Tensor, "*shape length"]
    ) -> Float[Tensor, "*shape length"]:
        """The log-probability of each token, given those before it.

        Raises:
            ValueError: a token is outside the vocabulary.
        """
        tokens = self.network.checked(value)
        start = self.start.expand(*tokens.shape[:-1], -1)
        logits = self.network.logits(tokens.flatten(0, -2), start.flatten(0, -2))
        chosen = logits.log_softmax(-1).gather(-1, tokens.flatten(0, -2).unsqueeze(-1))
        return chosen.squeeze(-1).reshape(tokens.shape)


class AutoregressiveLSTM(nn.Module):
    """A generator of token sequences; latents only say how many.

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
        super().__init__()
        require_positive(
            latent_dim=latent_dim, vocabulary=vocabulary, embedding=embedding
        )
        if len(event_shape) != 1:
            raise ValueError(
                f"event_shape is {list(event_shape)}, and sequences have [length]; choose "
                "data=oracle_sequences or data=text_lines"
            )
        require_positive(hidden=hidden, length=event_shape[0])
        self.latent_dim = latent_dim
        self.vocabulary = vocabulary
        self.event_shape = tuple(event_shape)
        self.embedding = nn.Embedding(
            vocabulary + 1, embedding
        )  # the last is the start
        self.cell = nn.LSTM(embedding, hidden, batch_first=True)
        self.to_logits = nn.Linear(hidden, vocabulary)
        self.start = nn.Parameter(torch.zeros(hidden))

    @property
    def length(self) -> int:
        """Tokens in a sequence."""
        return self.event_shape[0]

    def forward(self, latents: Float[Tensor, "batch latent_dim"]) -> TokenSequences:
        """The distribution, once for each latent."""
        return TokenSequences(self, self.start.expand(len(latents), -1))

    def logits(
        self, tokens: Int[Tensor, "n length"], start: Float[Tensor, "n hidden"]
    ) -> Float[Tensor, "n length vocabulary"]:
        """The logits of every token of given sequences."""
        first = torch.full_like(tokens[:, :1], self.vocabulary)
        before = self.embedding(torch.cat([first, tokens[:, :-1]], 1))
        return self.to_logits(self.cell(before, _states(start))[0])

    def draw(self, start: Float[Tensor, "n hidden"]) -> Int[Tensor, "n length"]:
        """Sequences, token by token."""
        states = _states(start)
        last = torch.full((len(start), 1), self.vocabulary, device=start.device)
        drawn = []
        for _ in range(self.length):
            output, states = self.cell(self.embedding(last), states)
            last = self.to_logits(output[:, 0]).softmax(-1).multinomial(1)
            drawn.append(last)
        return torch.cat(drawn, 1)

    def checked(self, value: Shaped[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        """Tokens as integers.

        Raises:
            ValueError: one is outside the vocabulary.
        """
        tokens = value.long()
        outside = tokens[(tokens < 0) | (tokens >= self.vocabulary)]
        if len(outside):
            raise ValueError(
                f"{len(outside)} tokens, such as {int(outside[0])}, are outside the "
                f"vocabulary of {self.vocabulary}; set generator.vocabulary to that of "
                "the data"
            )
        return tokens


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
