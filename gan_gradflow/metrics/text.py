"""Lines of text: how much they repeat each other, beside how much the reals do.

    self_bleu      see there, in the characters or words of the lines;
    self_bleu_gap  how far it is from that of as many training lines.

A generator that repeats itself lies above the reals, one that makes noise below them. What
lines say is not judged here: that takes a reader, or the likelihood of held-out lines.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Shaped
from torch import Tensor

from gan_gradflow.metrics.base import Reals, SampleQuality
from gan_gradflow.metrics.self_bleu import self_bleu


@runtime_checkable
class _Readable(Protocol):
    def units(self, tokens: Tensor) -> list[str]: ...


class TextQuality(SampleQuality):
    """For generators of text, where nobody can be asked how likely a line is.

    Args:
        num_samples: how many lines one measurement takes; as many as there are training
            lines if these are fewer.

    Raises:
        ValueError: there is nothing to compare.
    """

    primary = "self_bleu_gap"

    def __init__(self, num_samples: int) -> None:
        super().__init__(num_samples)
        if num_samples < 2:
            raise ValueError(
                f"num_samples must be at least 2, got {num_samples}; try 1000"
            )

    def prepare(self, data: Reals) -> None:
        """Measure the reals.

        Raises:
            ValueError: the data are not lines of text.
        """
        if not isinstance(data, _Readable):
            raise ValueError(
                f"{type(data).__name__} has no text; choose data=text_lines, or other "
                "metrics"
            )
        self._data = data
        self._count = min(self.num_samples, len(data.train_reals))
        self._reals = self._repetition(data.train_floats(slice(self._count)))

    def measure(self, fakes: Shaped[Tensor, "n length"]) -> dict[str, float]:
        """Self-BLEU, and how far it is from that of the reals."""
        found = self._repetition(fakes[: self._count])
        return {"self_bleu": found, "self_bleu_gap": abs(found - self._reals)}

    def floor(self) -> dict[str, float]:
        """The figures of training lines."""
        return {"self_bleu": self._reals, "self_bleu_gap": 0.0}

    def _repetition(self, lines: Shaped[Tensor, "n length"]) -> float:
        return self_bleu([self._data.units(line) for line in lines.long().cpu()])
