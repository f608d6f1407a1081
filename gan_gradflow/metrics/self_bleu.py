"""How much texts repeat each other.

BLEU-4 of a text of c tokens against all others: m_n of its l_n runs of n tokens are found
in the others, each at most as often as in the one that has it most often, and

    BLEU = exp(min(0, 1 - r / c)) (m_1 / l_1 prod_{n = 2..4} (m_n + 1) / (l_n + 1))^(1/4)

with r the length of the other that is nearest to c. Because of the ones a text that shares
no four tokens in a row with another still counts for the two or three that it shares (Lin
and Och, COLING 2004). The two largest counts of each run, over all texts, serve every text:
the cost is linear in their number. Self-BLEU is from Zhu et al., SIGIR 2018; it rises with
the number of texts, so only figures of equal numbers compare.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Sequence

_ORDERS = (1, 2, 3, 4)


def self_bleu(texts: Sequence[Sequence[Hashable]]) -> float:
    """The mean BLEU-4 of each text against all others: 1 if they are all the same.

    Args:
        texts: sequences of tokens; an empty one counts as 0.

    Raises:
        ValueError: fewer than two texts.
    """
    if len(texts) < 2:
        raise ValueError(f"self-BLEU compares texts, and there is {len(texts)}")
    counts = [_ngrams(text) for text in texts]
    most = _two_most_of(counts)
    lengths = sorted(len(text) for text in texts)
    scores = [
        _bleu(own, most, len(text), _nearest(lengths, len(text)))
        for own, text in zip(counts, texts, strict=True)
        if len(text)
    ]
    return math.fsum(scores) / len(texts)


def _ngrams(text: Sequence[Hashable]) -> Counter[tuple[Hashable, ...]]:
    return Counter(
        tuple(text[start : start + order])
        for order in _ORDERS
        for start in range(len(text) - order + 1)
    )


def _two_most_of(
    counts: list[Counter[tuple[Hashable, ...]]],
) -> dict[tuple[Hashable, ...], tuple[int, int]]:
    """How often an N-gram is in the text that has it most often, and in the next one."""
    most: dict[tuple[Hashable, ...], tuple[int, int]] = {}
    for own in counts:
        for ngram, count in own.items():
            first, second = most.get(ngram, (0, 0))
            most[ngram] = (max(first, count), max(second, min(first, count)))
    return most


def _bleu(
    own: Counter[tuple[Hashable, ...]],
    most: dict[tuple[Hashable, ...], tuple[int, int]],
    length: int,
    nearest: int,
) -> float:
    found, possible = dict.fromkeys(_ORDERS, 0), dict.fromkeys(_ORDERS, 0)
    for ngram, count in own.items():
        first, second = most[ngram]
        # Where this text has it most often, the others have it as often as the next.
        found[len(ngram)] += min(count, second if count == first else first)
        possible[len(ngram)] += count
    if not found[1]:
        return 0.0
    parts = [found[1] / possible[1]]
    parts += [(found[n] + 1) / (possible[n] + 1) for n in _ORDERS[1:]]
    return math.exp(min(0.0, 1 - nearest / length)) * math.prod(parts) ** 0.25


def _nearest(lengths: list[int], length: int) -> int:
    """The length nearest to one of these, that one left out; the smaller of two."""
    place = bisect_left(lengths, length)
    others = lengths[max(0, place - 1) : place] + lengths[place + 1 : place + 2]
    return min(others, key=lambda other: (abs(other - length), other))
