"""Token sequences from a transformer that looks back only.

    e_t = embedding(x_{t-1}) + position_t,    logits of x_t = W encoder(e_1 .. e_t)

with a learned vector in place of the token before the first. The encoder is that of
PyTorch, normalised before each of its parts, with a causal mask.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gan_gradflow.networks.layers import require_positive
from gan_gradflow.networks.token_sequences import AutoregressiveNetwork


class AutoregressiveTransformer(AutoregressiveNetwork):
    """Choose it where a token depends on others far before it.

    Drawing computes all tokens so far anew for each one: cubic in the length where an
    LSTM is linear, and no state to keep. There is no dropout, for the log-probability has
    to be that of what was drawn from. Vaswani et al., NeurIPS 2017.

    Args:
        latent_dim: length of a latent, of which nothing is used.
        vocabulary: the number of tokens.
        event_shape: `[length]`.
        width: length of a token's embedding; the layers between are four times as wide.
        num_heads: of each layer; they share the width.
        depth: layers.

    Raises:
        ValueError: a size is below 1, an event is not one number, or the heads do not
            divide the width.
    """

    def __init__(
        self,
        latent_dim: int,
        vocabulary: int,
        event_shape: Sequence[int],
        width: int,
        num_heads: int,
        depth: int,
    ) -> None:
        super().__init__(latent_dim, vocabulary, event_shape)
        require_positive(width=width, num_heads=num_heads, depth=depth)
        if width % num_heads:
            raise ValueError(
                f"width is {width}, and {num_heads} heads cannot share it evenly; make it "
                "a multiple of num_heads"
            )
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(0.02 * torch.randn(self.length, width))
        layer = nn.TransformerEncoderLayer(
            width, num_heads, 4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(
            layer, depth, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.to_logits = nn.Linear(width, vocabulary)
        self.start = nn.Parameter(torch.zeros(width))

    def features(
        self, tokens: Int[Tensor, "n length"], start: Float[Tensor, "n width"]
    ) -> Float[Tensor, "n length width"]:
        """What the encoder makes of all tokens before each one."""
        return self._encoded(tokens[:, :-1], start)

    def draw(self, start: Float[Tensor, "n width"]) -> Int[Tensor, "n length"]:
        """Sequences, token by token."""
        drawn = torch.empty(len(start), 0, dtype=torch.long, device=start.device)
        for _ in range(self.length):
            last = self.chosen(self.to_logits(self._encoded(drawn, start)[:, -1]))
            drawn = torch.cat([drawn, last], 1)
        return drawn

    def _encoded(
        self, tokens: Int[Tensor, "n t"], start: Float[Tensor, "n width"]
    ) -> Float[Tensor, "n next width"]:
        """The features of the first token, and of the one after each of these."""
        before = torch.cat([start.unsqueeze(1), self.embedding(tokens)], 1)
        length = before.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(
            length, device=before.device, dtype=before.dtype
        )
        return self.encoder(before + self.positions[:length], mask, is_causal=True)
