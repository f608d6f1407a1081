"""`gan-gradflow sample`: pictures from a checkpoint, and none from a bad one."""

import numpy as np
import pytest
import torch
from PIL import Image

from gan_gradflow.cli import CONFIG_DIR
from gan_gradflow.modules.checkpoint import sealed

BRIDGES = sorted(path.stem for path in (CONFIG_DIR / "bridge").glob("*.yaml"))


@pytest.fixture
def checkpoint(train, tmp_path):
    assert train().code == 0
    return tmp_path / "outputs" / "short" / "checkpoints" / "last.ckpt"


def size_of(path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


@pytest.mark.parametrize(
    "given",
    ["outputs/a", "outputs/a/checkpoints", "outputs/b.ckpt", "outputs/b/x.ckpt"],
)
def test_the_checkpoint_that_was_meant_is_offered(cli, tmp_path, given) -> None:
    (tmp_path / "outputs/a/checkpoints").mkdir(parents=True)
    (tmp_path / "outputs/a/checkpoints/last.ckpt").touch()
    result = cli("sample", f"checkpoint={given}")
    assert result.code == 2
    assert f"there is no checkpoint {given}" in result.err
    assert result.err.endswith(" outputs/a/checkpoints/last.ckpt\n")


def test_a_grid_is_drawn_from_a_checkpoint(cli, checkpoint, tmp_path) -> None:
    result = cli("sample", f"checkpoint={checkpoint}", "run_name=drawn")
    path = tmp_path / "outputs/drawn/samples.png"
    assert (result.code, result.out.strip()) == (0, str(path))
    assert size_of(path) == (320, 320)


@pytest.mark.parametrize("bridge", BRIDGES)
def test_samples_can_be_drawn_whatever_the_bridge(train, cli, tmp_path, bridge) -> None:
    train(f"bridge={bridge}", "penalty=r1")
    path = tmp_path / "outputs" / "short" / "checkpoints" / "last.ckpt"
    result = cli("sample", f"checkpoint={path}", "num_samples=5")
    assert result.code == 0, result.err


def test_all_samples_come_as_one_array(cli, checkpoint, tmp_path) -> None:
    cli("sample", f"checkpoint={checkpoint}", "num_samples=5", "npz=true", "run_name=a")
    array = np.load(tmp_path / "outputs/a/samples.npz")
    assert (array["samples"].shape, array["latents"].shape) == ((5, 2), (5, 2))


def test_averaged_and_raw_weights_differ_and_the_seed_decides(
    cli, checkpoint, tmp_path
) -> None:
    drawn = {}
    for name, more in {
        "a": ["weights=averaged"],
        "again": ["weights=averaged"],
        "raw": ["weights=raw"],
        "seed": ["seed=2"],
    }.items():
        cli("sample", f"checkpoint={checkpoint}", "npz=true", f"run_name={name}", *more)
        drawn[name] = np.load(tmp_path / f"outputs/{name}/samples.npz")["samples"]
    assert np.array_equal(drawn["a"], drawn["again"])
    assert not np.array_equal(drawn["a"], drawn["raw"])
    assert not np.array_equal(drawn["a"], drawn["seed"])


@pytest.mark.slow
def test_single_images_are_written_for_image_generators(cli, tmp_path) -> None:
    short = ("max_iterations=1", "trainer.log_every_n_steps=1", "metrics=none")
    cli("train", "run_name=main", *short)
    path = tmp_path / "outputs/main/checkpoints/last.ckpt"
    result = cli(
        "sample", f"checkpoint={path}", "num_samples=3", "images=true", "run_name=one"
    )
    assert result.code == 0, result.err
    images = sorted((tmp_path / "outputs/one/images").glob("*.png"))
    assert [size_of(path) for path in images] == [(28, 28)] * 3

    again = cli("sample", f"checkpoint={path}", "images=true", "run_name=one", "seed=2")
    assert again.code == 2
    assert "images is there already; choose another run_name" in again.err
    assert len(list((tmp_path / "outputs/one/images").glob("*"))) == 3


def test_single_images_of_points_are_refused(cli, checkpoint, tmp_path) -> None:
    result = cli("sample", f"checkpoint={checkpoint}", "images=true", "run_name=one")
    assert result.code == 2
    assert "makes samples of [2]; use images=false npz=true" in result.err
    assert not (tmp_path / "outputs/one/samples.png").exists()


def refused(cli, checkpoint, *told) -> None:
    result = cli("sample", f"checkpoint={checkpoint}")
    assert result.code == 2
    for part in ("checkpoint", *told):
        assert part in result.err
    assert "Traceback" not in result.err
    assert len(result.err.strip().splitlines()) == 1


def test_a_missing_checkpoint_is_named(cli) -> None:
    refused(cli, "nowhere.ckpt", "nowhere.ckpt")
    assert "add checkpoint=VALUE" in cli("sample").err


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_checkpoint_is_refused(cli, checkpoint, share) -> None:
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: int(share * len(whole))])
    refused(cli, checkpoint, "truncated")


def test_a_checkpoint_of_another_program_is_refused(cli, tmp_path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    refused(cli, tmp_path / "other.ckpt", "not written by gan-gradflow")


def edit(path, change) -> None:
    contents = torch.load(path, weights_only=True)
    change(contents)
    torch.save(sealed(contents), path)


def test_a_checkpoint_of_another_version_is_refused(cli, checkpoint) -> None:
    edit(checkpoint, lambda c: c["gan_gradflow"].update(format=99))
    refused(cli, checkpoint, "format 99")


def test_weights_of_another_architecture_are_refused(cli, checkpoint) -> None:
    edit(
        checkpoint,
        lambda c: c["hyper_parameters"]["config"]["generator"].update(width=8),
    )
    refused(cli, checkpoint, "do not fit")


def test_a_checkpoint_cannot_name_code_to_run(cli, checkpoint) -> None:
    def plant(contents) -> None:
        node = {"_target_": "os.system", "command": "touch planted"}
        contents["hyper_parameters"]["config"]["generator"] = node

    edit(checkpoint, plant)
    refused(cli, checkpoint, "os.system", "trust=[os]")


class Malicious:
    def __reduce__(self):
        return (print, ("code from a checkpoint ran",))


def test_pickled_code_in_a_checkpoint_is_not_run(cli, tmp_path) -> None:
    torch.save({"gan_gradflow": Malicious()}, tmp_path / "bad.ckpt")
    result = cli("sample", f"checkpoint={tmp_path / 'bad.ckpt'}")
    assert result.code == 2
    assert "code from a checkpoint ran" not in result.out
