"""Class-conditional GANs from the command line, and the samples of a class."""

import numpy as np
import pytest
import torch
from PIL import Image
from short_run import SHORT

NARROW = [argument for argument in SHORT if "width" not in argument]
PER_CLASS = ["bridge=surrogate_input", "bridge.per_class=true"]


@pytest.fixture
def conditional(cli):
    """Trains a conditional generator on the ring, in a discriminator's view or not."""

    def run(*arguments: str, discriminator: str = "conditional_mlp"):
        return cli(
            "train",
            "experiment=ring",
            "generator=conditional_mlp",
            "generator.network.width=16",
            f"discriminator={discriminator}",
            *NARROW,
            *arguments,
        )

    return run


def test_statistics_of_each_class_and_samples_of_one(conditional, cli, tmp_path):
    result = conditional("generator.num_classes=8", *PER_CLASS)
    assert result.code == 0, result.err
    path = tmp_path / "outputs/short/checkpoints/last.ckpt"
    shares = torch.load(path, weights_only=True)["state_dict"]["generator.class_shares"]
    assert shares.sum() == pytest.approx(1)
    assert len(shares.unique()) > 1  # those of 500 draws, not the even ones
    options = ["num_samples=5", "npz=true", "run_name=drawn"]
    result = cli("sample", f"checkpoint={path}", "labels=[3,1]", *options)
    assert result.code == 0, result.err
    drawn = np.load(tmp_path / "outputs/drawn/samples.npz")
    assert drawn["labels"].tolist() == [3, 1, 3, 1, 3]
    refused = cli("sample", f"checkpoint={path}", "labels=[8]")
    assert refused.code == 2
    assert "labels is [8]" in refused.err
    assert "classes 0 to 7" in refused.err


def test_the_game_is_watched_class_by_class(conditional):
    often = "callbacks.collapse_alarm.every_n_iterations=2"
    result = conditional("generator.num_classes=8", often)
    assert result.code == 0, result.err
    assert "nothing teaches it" not in result.out


def test_classes_that_nothing_teaches_are_told(conditional, tmp_path):
    short = "max_iterations=1", "discriminator.width=16"
    result = conditional("generator.num_classes=8", *short, discriminator="mlp")
    assert result.code == 0, result.err
    told = "ConditionalGenerator makes samples of a class, and MLPDiscriminator is not"
    for text in (result.out, (tmp_path / "outputs/short/train.log").read_text()):
        assert told in text
        assert "such as discriminator=conditional_dcgan" in text


def test_a_column_of_each_class_is_drawn_of_images(cli, tmp_path):
    short = ["max_iterations=1", "trainer.log_every_n_steps=1", "metrics=none"]
    players = ["generator=conditional_dcgan", "discriminator=conditional_dcgan"]
    narrow = ["generator.network.width=8", "discriminator.network.width=8"]
    more = ["bridge=finite_difference", "objective=relativistic", "run_name=short"]
    result = cli("train", *players, *narrow, *short, *more)
    assert result.code == 0, result.err
    with Image.open(
        tmp_path / "outputs/short/samples/iteration_0000001_raw.png"
    ) as grid:
        assert grid.size == (10 * 30 + 2, 7 * 30 + 2)  # 64 digits in columns of a class


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["generator.num_classes=3"], ["generator", "3", "num_classes=8"]),
        (["generator=mlp"], ["discriminator", "generator=conditional_dcgan"]),
    ],
    ids=["too few classes", "a plain generator"],
)
def test_classes_that_do_not_fit_are_named(cli, overrides, told):
    players = ["generator=conditional_mlp", "discriminator=conditional_mlp"]
    discriminator = ["discriminator.num_classes=8"]
    result = cli(
        "train", "experiment=ring", *players, *discriminator, *overrides, *NARROW
    )
    assert result.code == 2
    for part in told:
        assert part in result.err


def test_labels_of_a_generator_without_classes_are_refused(train, cli, tmp_path):
    train()
    path = tmp_path / "outputs/short/checkpoints/last.ckpt"
    result = cli("sample", f"checkpoint={path}", "labels=[0]")
    assert result.code == 2
    assert "labels=null" in result.err
