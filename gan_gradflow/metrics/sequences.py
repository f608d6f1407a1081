"""Token sequences: what an oracle thinks of them, and how much they repeat each other.

    oracle_nll    mean negative log-likelihood of a token under the oracle, in nats;
    self_bleu     see there: 1 if all sequences are the same.

The likelihood rewards a generator that makes the oracle's favourites over and over; only
beside self-BLEU and the likelihood of reals under the generator does it mean anything.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Shaped
from torch import Tensor

from gan_gradflow.metrics.base import Reals, SampleQuality
from gan_gradflow.metrics.self_bleu import self_bleu


@runtime_checkable
class _Judged(Protocol):
    oracle: torch.nn.Module


class SequenceQuality(SampleQuality):
    """For generators of tokens, where the data have an oracle.

    Args:
        num_samples: how many sequences one measurement takes, two at least; self-BLEU
            compares as many as there are training sequences if these are fewer.

    Raises:
        ValueError: there is nothing to compare.
    """

    primary = "oracle_nll"

    def __init__(self, num_samples: int) -> None:
        super().__init__(num_samples)
        if num_samples < 2:
            raise ValueError(
                f"num_samples must be at least 2, got {num_samples}; try 2000"
            )

    def prepare(self, data: Reals) -> None:
        """Keep the oracle, and as many training sequences as fakes.

        Raises:
            ValueError: the data are not sequences with an oracle.
        """
        if not isinstance(data, _Judged):
            raise ValueError(
                f"{type(data).__name__} has no oracle; choose data=oracle_sequences, "
                "metrics=text or metrics=none"
            )
        self._oracle = data.oracle
        self._reals = data.train_floats(slice(self.num_samples))

    def measure(self, fakes: Shaped[Tensor, "n length"]) -> dict[str, float]:
        """Oracle likelihood and self-BLEU."""
        tokens = fakes.long().cpu()
        return {
            "oracle_nll": self._oracle.token_nll(tokens),  # type: ignore[operator]
            "self_bleu": self_bleu(tokens[: len(self._reals)].tolist()),
        }

    def floor(self) -> dict[str, float]:
        """The figures of training sequences: the oracle's own."""
        return self.measure(self._reals)
