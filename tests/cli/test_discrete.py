"""Generators that emit distributions, from the command line."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from gan_gradflow.callbacks import likelihood

TOKENS = (
    "experiment=oracle_sequences",
    "data.vocabulary=50",
    "data.event_shape=[10]",
    "data.num_train=500",
    "data.num_held_out=100",
    "metrics.num_samples=200",
    "callbacks.likelihood.iterations=60",
    "callbacks.quality.every_n_iterations=2",
    "max_iterations=4",
    "n_critic=2",
    "trainer.log_every_n_steps=1",
    "run_name=short",
)


@pytest.mark.parametrize(
    "changes",
    [
        [],
        ["discriminator=recurrent_sequence"],
        ["discriminator=recurrent_sequence", "bridge=reward_to_go"],
        ["generator=transformer"],
    ],
    ids=["convolutional", "mean", "dense", "transformer"],
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


def text_run(cli, tmp_path, *changes):
    (tmp_path / "lines.txt").write_text("a line of text\n" * 30)
    other = (f"data.path={tmp_path}/lines.txt", "data.batch_size=9", *changes)
    settings = [o for o in TOKENS if "num_" not in o and "event" not in o]
    return cli("train", *settings, "data=text_lines", "metrics=text", *other)


def test_text_lines_train_and_an_empty_file_is_named(cli, tmp_path) -> None:
    result = text_run(cli, tmp_path)
    assert result.code == 0, result.err
    summary = json.loads((tmp_path / "outputs/short/summary.json").read_text())
    assert summary["floor"] == {"self_bleu": pytest.approx(1), "self_bleu_gap": 0}
    (tmp_path / "empty.txt").write_text("")
    changes = (f"data.path={tmp_path}/empty.txt", "run_name=other")
    result = text_run(cli, tmp_path, *changes)
    assert result.code == 2
    assert "empty.txt has 0 lines of text" in result.err


def test_text_is_drawn_and_judged_without_an_oracle(cli, tmp_path) -> None:
    assert text_run(cli, tmp_path).code == 0
    checkpoint = f"checkpoint={tmp_path}/outputs/short/checkpoints/last.ckpt"
    result = cli("evaluate", checkpoint, "run_name=judged")
    assert result.code == 0, result.err
    found = json.loads((tmp_path / "outputs/judged/evaluation.json").read_text())
    assert set(found["quality"]) == {"self_bleu", "self_bleu_gap"}
    (tmp_path / "lines.txt").unlink()  # the checkpoint knows what its tokens mean
    first, again = (
        cli("sample", checkpoint, "num_samples=5", f"run_name={n}") for n in "ab"
    )
    *lines, path = first.out.splitlines()
    assert lines == again.out.splitlines()[:-1]
    assert len(lines) == 5
    assert set("".join(lines)) <= set("a line of text\ufffd")
    assert Path(path).read_text("utf-8").splitlines() == lines


def test_several_games_begin_from_one_pre_training(cli, tmp_path) -> None:
    still = ("optimizer.generator.lr=0", "max_iterations=1")
    assert cli("train", *TOKENS, *still).code == 0
    start = f"{tmp_path}/outputs/short/checkpoints/last.ckpt"
    other = (f"callbacks.likelihood.start={start}", "callbacks.likelihood.iterations=0")
    result = cli("train", *TOKENS, *still, *other, "run_name=other")
    assert result.code == 0, result.err
    found = [
        json.loads((tmp_path / f"outputs/{name}/quality.jsonl").read_text())["figures"]
        for name in ("short", "other")
    ]
    assert found[0]["oracle_nll"] == pytest.approx(found[1]["oracle_nll"], rel=0.05)
    bad = ("callbacks.likelihood.start=nowhere.ckpt", "run_name=third")
    result = cli("train", *TOKENS, *bad)
    assert result.code == 2
    assert "there is no checkpoint nowhere.ckpt" in result.err
    result = cli("train", *TOKENS, *other, "generator.hidden=8", "run_name=small")
    assert result.code == 2
    assert "cell.bias_hh_l0 is [128], and here [32]" in result.err
    Path(start).unlink()  # a run that goes on does not need it
    going_on = (f"resume={tmp_path}/outputs/other", "max_iterations=2")
    result = cli("train", *going_on)
    assert result.code == 0, result.err
    assert "before the game" not in result.out  # the game goes on


@pytest.fixture
def signal_in_pre_training(monkeypatch):
    """Sends SIGTERM before the 25th update, once."""
    batches, sent = likelihood.Likelihood._batches, []

    def interrupted(self, reals):
        for number, batch in enumerate(batches(self, reals)):
            if number == 24 and not sent:
                sent.append(number)
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    monkeypatch.setattr(likelihood.Likelihood, "_batches", interrupted)


def test_pre_training_that_is_ended_goes_on_to_the_last_bit(
    cli, tmp_path, signal_in_pre_training
) -> None:
    result = cli("train", *TOKENS)
    assert result.code == 143
    assert "after iteration 0; the state is saved in" in result.err
    assert cli("train", f"resume={tmp_path}/outputs/short").code == 0
    assert cli("train", *TOKENS, "run_name=whole").code == 0
    resumed, whole = (
        torch.load(tmp_path / f"outputs/{name}/checkpoints/last.ckpt")["state_dict"]
        for name in ("short", "whole")
    )
    assert all(torch.equal(resumed[key], whole[key]) for key in whole)


def test_pre_training_is_saved_and_told_as_it_goes(cli, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(likelihood, "_SAVE_EVERY", 20)
    monkeypatch.setattr(likelihood, "_TELL_EVERY", 0.0)
    monkeypatch.setattr(likelihood.Likelihood, "_measure", lambda *_: 1 / 0)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ZeroDivisionError):
        cli("train", *TOKENS)
    assert signal.getsignal(signal.SIGTERM) == before
    stored = torch.load(tmp_path / "outputs/short/checkpoints/last.ckpt")
    assert stored["callbacks"]["Likelihood"]["pretrained_iterations"] == 60
    log = (tmp_path / "outputs/short/train.log").read_text()
    assert "pre-training: iteration 40 of 60" in log


def test_tokens_without_a_lexicon_are_written_as_numbers(cli, tmp_path) -> None:
    assert cli("train", *TOKENS).code == 0
    checkpoint = f"checkpoint={tmp_path}/outputs/short/checkpoints/last.ckpt"
    result = cli("sample", checkpoint, "num_samples=2", "run_name=drawn")
    lines = (tmp_path / "outputs/drawn/samples.txt").read_text().splitlines()
    assert [len(line.split()) for line in lines] == [10, 10]
    result = cli("sample", checkpoint, "images=true")
    assert (result.code, "use images=false" in result.err) == (2, True)


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
