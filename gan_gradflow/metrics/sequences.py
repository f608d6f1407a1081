"""Token sequences: what an oracle thinks of them, and how much they repeat each other.

    oracle_nll    mean negative log-likelihood of a token under the oracle, in nats;
    self_bleu     mean over sequences of BLEU-4 against all others, smoothed: 1 if they are
                  all the same.

The likelihood rewards a generator that makes the oracle's favourites over and over; only
beside self-BLEU (Zhu et al., SIGIR 2018) and the likelihood of reals under the generator
does it mean anything.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Shaped
from torch import Tensor
from torchmetrics.functional.text import bleu_score

from gan_gradflow.metrics.base import Reals, SampleQuality


@runtime_checkable
class _Judged(Protocol):
    oracle: torch.nn.Module


class SequenceQuality(SampleQuality):
    """For generators of tokens, where the data have an oracle or have not.

    Args:
        num_samples: how many sequences one measurement takes.
        num_compared: how many of them self-BLEU compares; its cost is their square.

    Raises:
        ValueError: fewer than two sequences to compare, or more than there are.
    """

    primary = "oracle_nll"

    def __init__(self, num_samples: int, num_compared: int) -> None:
        super().__init__(num_samples)
        if not 2 <= num_compared <= num_samples:
            raise ValueError(
                f"num_compared must be from 2 to num_samples, {num_samples}, got "
                f"{num_compared}; try 100"
            )
        self.num_compared = num_compared

    def prepare(self, data: Reals) -> None:
        """Keep the oracle and the held-out sequences.

        Raises:
            ValueError: the data are not sequences with an oracle.
        """
        if not isinstance(data, _Judged):
            raise ValueError(
                f"{type(data).__name__} has no oracle; choose data=oracle_sequences, or "
                "metrics=none"
            )
        self._oracle = data.oracle
        self._reals = data.held_out_floats(slice(None))

    def measure(self, fakes: Shaped[Tensor, "n length"]) -> dict[str, float]:
        """Oracle likelihood and self-BLEU."""
        tokens = fakes.long().cpu()
        return {
            "oracle_nll": self._oracle.token_nll(tokens),  # type: ignore[operator]
            "self_bleu": self_bleu(tokens[: self.num_compared]),
        }

    def floor(self) -> dict[str, float]:
        """The figures of held-out sequences."""
        return self.measure(self._reals)


def self_bleu(tokens: Shaped[Tensor, "n length"]) -> float:
    """The mean BLEU-4 of each sequence against all the others."""
    texts = [" ".join(map(str, row)) for row in tokens.tolist()]
    scores = [
        bleu_score([text], [texts[:i] + texts[i + 1 :]], n_gram=4, smooth=True)
        for i, text in enumerate(texts)
    ]
    return torch.stack(scores).mean().item()
