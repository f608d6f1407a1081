"""How much sequences repeat each other."""

import math
from random import Random

import pytest
import torch
from torchmetrics.functional.text import bleu_score

from gan_gradflow.metrics.self_bleu import self_bleu
from gan_gradflow.metrics.sequences import SequenceQuality
from gan_gradflow.metrics.text import TextQuality


def test_sequences_that_are_all_the_same_repeat_each_other():
    assert self_bleu([[1] * 8] * 5) == pytest.approx(1)


def test_sequences_without_a_common_token_do_not():
    assert self_bleu(torch.arange(40).reshape(5, 8).tolist()) == 0


def test_one_common_pair_counts_by_hand():
    # Of "abcd": 2 of 4 tokens, 1 of 3 pairs, no triple of 2, and not the whole.
    one = (2 / 4 * (1 + 1) / (3 + 1) * 1 / (2 + 1) * 1 / (1 + 1)) ** 0.25
    assert self_bleu(["abcd", "abxy"]) == pytest.approx(one)


def test_it_is_the_mean_bleu_of_each_against_all_others():
    # Two texts of each length: which of two lengths is nearer is then no question.
    random = Random(0)
    texts = [random.choices("abc", k=6 + i // 2 % 5) for i in range(20)]
    lines = [" ".join(text) for text in texts]
    each = [
        bleu_score([line], [lines[:i] + lines[i + 1 :]], n_gram=4, smooth=True)
        for i, line in enumerate(lines)
    ]
    assert min(each) > 0  # where it is 0, no smoothing was done
    assert self_bleu(texts) == pytest.approx(torch.stack(each).mean().item())


def test_only_a_text_shorter_than_its_nearest_pays_for_being_brief():
    brief = math.exp(1 - 3 / 2)  # "ab", all of which is in "abc"
    longer = (2 / 3 * (1 + 1) / (2 + 1) * 1 / (1 + 1)) ** 0.25
    assert self_bleu(["ab", "abc"]) == pytest.approx((brief + longer) / 2)


def test_an_empty_text_repeats_nothing():
    assert self_bleu([[], [1] * 5, [1] * 5]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("metric", [SequenceQuality, TextQuality])
def test_one_sequence_is_too_few(metric):
    with pytest.raises(ValueError, match="at least 2, got 1"):
        metric(1)
    with pytest.raises(ValueError, match="there is 1"):
        self_bleu([[1, 2]])
