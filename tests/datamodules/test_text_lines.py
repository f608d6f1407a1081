"""Lines of a file as tokens."""

import pytest

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
    assert data.tokens == [] or data.tokens[2:] == ["a", "b"]
    assert everything(data) == {"ab\ufffda", "aab", "a", "ab\ufffd\ufffd"}
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
