"""Generators that emit distributions, from the command line."""

import json

import pytest

TOKENS = (
    "experiment=oracle_sequences",
    "data.vocabulary=50",
    "data.event_shape=[10]",
    "data.num_train=500",
    "data.num_held_out=100",
    "metrics.num_samples=200",
    "metrics.num_compared=20",
    "callbacks.likelihood.iterations=60",
    "callbacks.quality.every_n_iterations=2",
    "max_iterations=4",
    "trainer.log_every_n_steps=1",
    "run_name=short",
)


@pytest.mark.parametrize(
    "changes",
    [
        [],
        ["bridge=score_function"],
        ["discriminator=convolutional_sequence", "bridge=score_function"],
    ],
    ids=["dense", "mean", "convolutional"],
)
def test_sequences_learn_from_scores(cli, tmp_path, changes) -> None:
    result = cli("train", *TOKENS, *changes)
    assert result.code == 0, result.err
    summary = json.loads((tmp_path / "outputs/short/summary.json").read_text())
    assert summary["floor"]["oracle_nll"] < summary["quality"]["oracle_nll"] < 5


def test_a_vocabulary_that_is_too_small_is_named(cli) -> None:
    result = cli("train", *TOKENS, "generator.vocabulary=3")
    assert result.code == 2
    assert "generator.vocabulary is 3, and data.vocabulary 50" in result.err


def test_a_penalty_on_the_gradient_at_a_token_is_refused(cli) -> None:
    result = cli("train", *TOKENS, "penalty=r1")
    assert result.code == 2
    assert "use penalty=none" in result.err


def test_text_lines_train_and_an_empty_file_is_named(cli, tmp_path) -> None:
    text = tmp_path / "lines.txt"
    text.write_text("a line of text\n" * 30)
    other = (
        "data=text_lines",
        f"data.path={text}",
        "metrics=none",
        "data.batch_size=9",
    )
    settings = [o for o in TOKENS if "num_" not in o and "event" not in o]
    result = cli("train", *settings, *other)
    assert result.code == 0, result.err
    text.write_text("")
    result = cli("train", *settings, *other, "run_name=other")
    assert result.code == 2
    assert "lines.txt has 0 lines of text" in result.err


@pytest.mark.parametrize(
    "changes",
    [
        [],
        ["bridge=straight_through"],
        ["bridge=gumbel_softmax"],
        ["generator=categorical", "channel.scale=0.6666667", "data=mnist"],
    ],
    ids=["bernoulli", "straight-through", "gumbel-softmax", "categorical"],
)
def test_pixels_are_drawn(cli, changes) -> None:
    short = ("max_iterations=2", "data.batch_size=8", "metrics=none", "run_name=short")
    small = ("generator.network.width=8", "discriminator.width=8")
    calm = ("callbacks.collapse_alarm=null", "trainer.log_every_n_steps=1")
    result = cli("train", "experiment=binary_mnist", *short, *small, *calm, *changes)
    assert result.code == 0, result.err
