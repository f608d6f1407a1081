"""A disk that is full, a folder that is gone: training goes on and loses no final state."""

import errno
import json
import os
import re
import resource
import shutil
import subprocess
from pathlib import Path

import lightning as L
import pytest
import torch

RUN = Path("outputs/short")
ELSEWHERE = "trainer.plugins.0.elsewhere=[rescued]"


class At(L.Callback):
    """Does something to the disk at the end of an iteration."""

    def __init__(self, iteration: int, what: str) -> None:
        self.iteration, self.what = iteration, what

    def on_train_batch_end(self, trainer, module, *_) -> None:
        if trainer.global_step == self.iteration:
            globals()[self.what](Path(trainer.default_root_dir))


def delete(folder: Path) -> None:
    shutil.rmtree(folder)


def replace_by_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("a file where a folder should be")


def fill(folder: Path) -> None:
    with (
        (folder / "filling").open("wb", buffering=0) as file,
        pytest.raises(OSError, match="No space left"),
    ):
        write_without_end(file)


def write_without_end(file) -> None:
    while True:
        file.write(bytes(4096))


def at(iteration: int, what: str) -> str:
    node = f"{{_target_: test_disk.At, iteration: {iteration}, what: {what}}}"
    return f"+callbacks.at={node}"


def step_of(path) -> int:
    return torch.load(path, weights_only=True)["global_step"]


def warnings_about(text: str, out: str) -> int:
    return len([line for line in out.splitlines() if text in line])


def rescued(result) -> Path:
    """The printed path of the state that was saved elsewhere; its run can go on."""
    (path,) = set(re.findall(r"saved in (\S+\.ckpt)", result.err + result.out))
    return Path(path)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path):
    (tmp_path / "rescued").mkdir()


def test_a_run_folder_that_is_deleted_is_made_anew(train) -> None:
    result = train(at(3, "delete"), "max_iterations=6", ELSEWHERE)
    assert result.code == 0, result.err
    assert step_of(RUN / "checkpoints/last.ckpt") == 6
    assert warnings_about("was deleted, and is made anew", result.out) == 1
    assert (RUN / "samples/iteration_0000006_raw.png").exists()
    assert json.loads((RUN / "summary.json").read_text())["iterations"] == 6
    assert list((RUN / "tensorboard").glob("events*"))


def test_a_state_that_the_run_folder_does_not_take_is_saved_elsewhere(
    train, cli
) -> None:
    result = train(at(3, "replace_by_a_file"), "max_iterations=6", ELSEWHERE)
    assert result.code == 1
    assert "Traceback" not in result.err + result.out
    for what in ("sample grid", "record of quality", "TensorBoard's file", "last.ckpt"):
        assert 1 <= warnings_about(f"{what} could not be written", result.out) <= 2
    kept = rescued(result)
    assert kept.is_relative_to(Path("rescued").absolute())
    assert step_of(kept) == 6
    trust = "trust=[test_disk]"
    onwards = cli(
        "train",
        f"resume={kept.parents[1]}",
        "max_iterations=7",
        trust,
        "allow_changes=true",
    )
    assert onwards.code == 0, onwards.err
    assert step_of(kept) == 7


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte, where this user may mount one."""
    folder = tmp_path / "outputs"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a small disk; the next test limits files instead")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_ends_no_run(small_disk, train) -> None:
    result = train(at(3, "fill"), "max_iterations=6", ELSEWHERE)
    assert result.code == 1
    assert "No space left on device" in result.out
    assert "Traceback" not in result.err + result.out
    assert step_of(rescued(result)) == 6
    assert step_of(small_disk / "short/checkpoints/last.ckpt") == 2  # as it was


def test_a_disk_that_has_room_again_gets_the_final_state(small_disk, train) -> None:
    free = "+callbacks.free={_target_: test_disk.At, iteration: 5, what: make_room}"
    result = train(at(3, "fill"), free, "max_iterations=6", ELSEWHERE)
    assert result.code == 0, result.err
    assert warnings_about("last.ckpt could not be written", result.out) == 1
    assert step_of(small_disk / "short/checkpoints/last.ckpt") == 6


def make_room(folder: Path) -> None:
    (folder / "filling").unlink()


def test_a_run_that_can_save_nothing_anywhere_says_so(train) -> None:
    """Every file ends at so many bytes: a configuration fits, a checkpoint does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        result = train(ELSEWHERE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert result.code == 1
    assert "File too large" in result.out
    assert "the final state is lost" in result.out  # the limit holds everywhere
    assert "its last state is not saved" in result.err
    assert "Traceback" not in result.err + result.out


def test_a_kill_in_the_middle_of_writing_leaves_the_old_checkpoint(
    tmp_path, monkeypatch
) -> None:
    from gan_gradflow.modules import checkpoint_io

    path = tmp_path / "checkpoints" / "last.ckpt"
    checkpoint_io.write_durably(b"first", path)
    real = os.fsync

    def dies(descriptor: int) -> None:
        raise OSError(errno.EIO, "the disk is gone")

    monkeypatch.setattr(os, "fsync", dies)
    with pytest.raises(OSError, match="the disk is gone"):
        checkpoint_io.write_durably(b"second", path)
    monkeypatch.setattr(os, "fsync", real)
    assert path.read_bytes() == b"first"
    checkpoint_io.write_durably(b"third", path)
    names = sorted(file.name for file in path.parent.iterdir())
    assert names == ["last.ckpt", "previous.ckpt"]
    assert path.with_name("previous.ckpt").read_bytes() == b"first"
