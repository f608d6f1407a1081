"""How much sequences repeat each other."""

import pytest
import torch

from gan_gradflow.metrics.sequences import SequenceQuality, self_bleu


def test_sequences_that_are_all_the_same_repeat_each_other():
    assert self_bleu(torch.ones(5, 8, dtype=torch.long)) == pytest.approx(1)


def test_sequences_without_a_common_token_do_not():
    assert self_bleu(torch.arange(40).reshape(5, 8)) < 0.05


def test_numbers_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="num_compared must be"):
        SequenceQuality(10, 11)
