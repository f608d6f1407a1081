"""Lines of a file as tokens."""

import pytest
import torch

from gan_gradflow.datamodules.lexicon import Lexicon
from gan_gradflow.datamodules.text_lines import TextLinesDataModule


def lines(path, unit="character", vocabulary=10, length=4):
    return TextLinesDataModule(str(path), unit, vocabulary, 0.25, [length], 1, 0, 1, 1)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("abca\n\naab\n  a \nabcdefgh\n", encoding="utf-8")
    return path


def everything(data):
    data.setup()
    return {
        data.text(row) for part in (data.train_reals, data.held_out) for row in part
    }


def test_lines_are_cut_to_length_and_come_back_as_text(file):
    data = lines(file, vocabulary=12)
    assert everything(data) == {"abca", "aab", "a", "abcd"}
    assert (len(data.train_reals), len(data.held_out)) == (3, 1)


def test_what_is_rare_is_unknown(file):
    data = lines(file, vocabulary=4)
    assert everything(data) == {"ab\ufffda", "aab", "a", "ab\ufffd\ufffd"}
    assert data.lexicon.state["units"][2:] == ["a", "b"]
    assert data.train_reals.max() < 4


def test_words_are_tokens_too(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("the cat sat\nthe cat\n")
    assert everything(lines(path, "word", length=3)) == {"the cat sat", "the cat"}


@pytest.mark.parametrize("content", [b"", b"\n \n", b"one line", b"\xff\xfe\xff"])
def test_a_file_without_text_is_named(tmp_path, content):
    path = tmp_path / "lines.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"lines\.txt"):
        lines(path).setup()


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"cannot read nowhere\.txt"):
        lines("nowhere.txt").setup()


def test_what_fills_a_line_is_not_part_of_it(file):
    data = lines(file, vocabulary=12)
    data.setup()
    a, b = (data.lexicon.encoded(letter, 1).item() for letter in "ab")
    assert data.units(torch.tensor([a, 0, b, 0])) == ["a", "b"]


def test_a_token_that_nothing_was_left_for_is_unknown(file):
    data = lines(file, vocabulary=50)
    data.setup()
    assert data.text(torch.tensor([49, 0])) == "\ufffd"


def test_a_checkpoint_says_what_its_tokens_mean_and_knows_its_file(file):
    data = lines(file)
    data.setup()
    state = data.state_dict()
    assert Lexicon.from_state(state).text(data.train_reals[0]) == data.text(
        data.train_reals[0]
    )
    lines(file).load_state_dict(state)
    file.write_text("xyz\nxy\n")
    with pytest.raises(ValueError, match="not the file that the run began with"):
        lines(file).load_state_dict(state)
