"""Sequences of tokens, each drawn given those before it.

    p(x_1 .. x_L) = prod_t softmax(logits(x_1 .. x_{t-1}))[x_t]

Drawing takes L steps without a graph; the log-probability of what was drawn takes one
pass, with the graph on the features that the logits are linear in. With a large vocabulary
the logits are too many to keep: they are made a piece at a time, and again in backward,
which is faster than to fetch them from memory.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.utils.checkpoint import checkpoint

from gan_gradflow.networks.layers import require_positive

_PIECE = 2**19  # logits


class TokenSequences(Distribution):
    """What an autoregressive network emits: one distribution over sequences per latent.

    Args:
        network: supplies the logits of each next token.
        start: what the first token follows from, `[batch, width]`, with its graph.
    """

    arg_constraints = {}  # noqa: RUF012
    has_rsample = False
    support = constraints.independent(constraints.nonnegative_integer, 1)

    def __init__(
        self, network: "AutoregressiveNetwork", start: Float[Tensor, "*batch width"]
    ) -> None:
        super().__init__(start.shape[:-1], torch.Size([network.length]), False)
        self.network = network
        self.start = start

    def expand(
        self,
        batch_shape: torch.Size | Sequence[int],
        _instance: object = None,
    ) -> "TokenSequences":
        """The same distribution, more often."""
        return TokenSequences(self.network, self.start.expand(*batch_shape, -1))

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
        features = self.network.features(tokens.flatten(0, -2), start.flatten(0, -2))
        size = max(1, _PIECE // self.network.vocabulary)
        pieces = zip(
            features.flatten(0, 1).split(size),
            tokens.flatten().split(size),
            strict=True,
        )
        found = [self._of_piece(*piece) for piece in pieces]
        return torch.cat(found).reshape(tokens.shape)

    def _of_piece(
        self, features: Float[Tensor, "n width"], tokens: Int[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        def log_probs(features: Tensor) -> Tensor:
            logs = self.network.to_logits(features).log_softmax(-1)
            return logs.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)

        found: Tensor = checkpoint(
            log_probs, features, use_reentrant=False, preserve_rng_state=False
        )
        return found


class AutoregressiveNetwork(nn.Module, ABC):
    """A generator of token sequences; latents only say how many.

    A subclass supplies the features of each token, `to_logits`, which maps them to the
    logits, a way to draw, and `start`: the parameter that the first token follows from.

    Args:
        latent_dim: length of a latent, of which nothing is used.
        vocabulary: the number of tokens.
        event_shape: `[length]`.

    Raises:
        ValueError: a size is below 1, or an event is not one number.
    """

    start: nn.Parameter
    to_logits: nn.Linear

    def __init__(
        self, latent_dim: int, vocabulary: int, event_shape: Sequence[int]
    ) -> None:
        super().__init__()
        require_positive(latent_dim=latent_dim, vocabulary=vocabulary)
        if len(event_shape) != 1:
            raise ValueError(
                f"event_shape is {list(event_shape)}, and sequences have [length]; choose "
                "data=oracle_sequences or data=text_lines"
            )
        require_positive(length=event_shape[0])
        self.latent_dim = latent_dim
        self.vocabulary = vocabulary
        self.event_shape = tuple(event_shape)

    @property
    def length(self) -> int:
        """Tokens in a sequence."""
        return self.event_shape[0]

    def forward(self, latents: Float[Tensor, "batch latent_dim"]) -> TokenSequences:
        """The distribution, once for each latent."""
        return TokenSequences(self, self.start.expand(len(latents), -1))

    @abstractmethod
    def features(
        self, tokens: Int[Tensor, "n length"], start: Float[Tensor, "n width"]
    ) -> Float[Tensor, "n length features"]:
        """What the logits of every token of given sequences are linear in."""

    @abstractmethod
    def draw(self, start: Float[Tensor, "n width"]) -> Int[Tensor, "n length"]:
        """Sequences, token by token."""

    @staticmethod
    def chosen(logits: Float[Tensor, "n vocabulary"]) -> Int[Tensor, "n 1"]:
        """A token drawn from each row, by one uniform number u in (0, 1].

        The first whose cumulative chance is at least u: never one without a chance.
        `multinomial` would draw a number for every token of the vocabulary.
        """
        cumulative = logits.softmax(-1).cumsum(-1)
        total = cumulative[:, -1:]
        return torch.searchsorted(cumulative, (1 - torch.rand_like(total)) * total)

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
