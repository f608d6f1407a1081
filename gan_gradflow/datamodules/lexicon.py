"""Which token stands for which character or word."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

Unit: TypeAlias = Literal["character", "word"]

_FILL, _UNKNOWN = 0, 1


class Lexicon:
    """Tokens in both directions: token 0 fills a line up, 1 is what is not in here.

    Args:
        units: the character or word of each token, those of the first two as well.
        unit: what they are.
    """

    def __init__(self, units: Sequence[str], unit: Unit) -> None:
        self._units = list(units)
        self._numbers = {name: n for n, name in enumerate(self._units) if n > _UNKNOWN}
        self.unit: Unit = unit

    @classmethod
    def of(cls, lines: Iterable[str], unit: Unit, vocabulary: int) -> "Lexicon":
        """The most frequent characters or words of these lines, in order."""
        counts = Counter(part for line in lines for part in _parts(line, unit))
        frequent = [part for part, _ in counts.most_common(vocabulary - 2)]
        return cls(["", "\N{REPLACEMENT CHARACTER}", *frequent], unit)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Lexicon":
        """What `state` was taken of."""
        return cls(state["units"], state["unit"])

    @property
    def state(self) -> dict[str, Any]:
        """Plain data, for a checkpoint."""
        return {"units": self._units, "unit": self.unit}

    def encoded(self, line: str, length: int) -> Tensor:
        """The tokens of a line, cut or filled up to a length."""
        parts = _parts(line, self.unit)[:length]
        tokens = torch.full((length,), _FILL)
        found = [self._numbers.get(part, _UNKNOWN) for part in parts]
        tokens[: len(parts)] = torch.tensor(found, dtype=torch.long)
        return tokens

    def units(self, tokens: Tensor) -> list[str]:
        """The characters or words of a sequence, without what fills it.

        A vocabulary may have room for more tokens than there are; these are unknown.
        """
        known = len(self._units)
        numbers = [int(t) if t < known else _UNKNOWN for t in tokens if t != _FILL]
        return [self._units[number] for number in numbers]

    def text(self, tokens: Tensor) -> str:
        """What a sequence says."""
        joint = " " if self.unit == "word" else ""
        return joint.join(self.units(tokens)).strip()


def _parts(line: str, unit: Unit) -> list[str]:
    return line.split() if unit == "word" else list(line)
