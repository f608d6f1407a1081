"""Whatever is wrong: exit code 2, one message, no code run and nothing overwritten."""

import random
from pathlib import Path

import pytest
import torch
from malformed import CHECKPOINTS, FILES, LINES
from short_run import SHORT

from gan_gradflow.cli import main
from gan_gradflow.modules.checkpoint import CheckpointError, read_checkpoint, sealed

NUM_LINES, NUM_FILES, NUM_CHECKPOINTS = 14, 12, 50  # of each kind


def check(result, told: str) -> None:
    assert result.code == 2, told
    assert result.err.startswith("gan-gradflow "), (told, result.err)
    assert "Traceback" not in result.err + result.out, (told, result.err)
    assert len(result.err.strip().splitlines()) <= 6, (told, result.err)
    assert len(result.err) < 3000, (told, result.err)
    assert not list(Path("outputs").glob("*")), told
    assert not list(Path.cwd().rglob("planted*")), told


@pytest.mark.slow
@pytest.mark.parametrize("kind", LINES)
def test_a_malformed_line_is_refused(train, kind) -> None:
    draw = random.Random(f"line {kind}")
    for _ in range(NUM_LINES):
        line = LINES[kind](draw)
        check(train(line), line)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILES)
def test_a_malformed_file_is_refused(cli, kind, tmp_path) -> None:
    draw = random.Random(f"file {kind}")
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    short = [line for line in SHORT if not line.startswith(("generator", "data"))]
    base = ("data=ring", "generator=mlp", "discriminator=mlp", "metrics=none")
    options = ("--config-dir", "mine", "experiment=bad", *base, "max_iterations=1")
    for _ in range(NUM_FILES):
        text = FILES[kind](draw)
        (folder / "bad.yaml").write_text(text)
        check(cli("train", *options, *short[1:3]), text)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    """A checkpoint of a short run."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        command = ["gan-gradflow", "train", "experiment=ring", *SHORT]
        patch.setattr("sys.argv", command)
        with pytest.raises(SystemExit) as left:
            main()
        assert left.value.code == 0
    return (folder / "outputs/short/checkpoints/last.ckpt").read_bytes()


def harmless(path: Path) -> bool:
    """Whether a file is read all the same: a bit between its records was flipped."""
    try:
        read_checkpoint(path)
    except CheckpointError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_corrupted_checkpoint_is_refused(cli, kind, whole, tmp_path, capfd) -> None:
    draw = random.Random(f"checkpoint {kind}")
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    tried = gone_unnoticed = 0
    while tried < NUM_CHECKPOINTS:
        damaged = CHECKPOINTS[kind](draw, whole, tmp_path)
        path.write_bytes(damaged)
        if kind == "flipped" and harmless(path):
            gone_unnoticed += 1
            continue
        commands = (
            ("train", "resume=run"),
            ("sample", f"checkpoint={path}"),
            ("evaluate", f"checkpoint={path}"),
        )
        check(cli(*commands[tried % 3]), f"{kind} {tried}")
        assert path.read_bytes() == damaged
        assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]
        assert [file.name for file in path.parents[1].iterdir()] == ["checkpoints"]
        tried += 1
    assert gone_unnoticed < NUM_CHECKPOINTS / 2


def same(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        return one.numpy().tobytes() == other.numpy().tobytes()
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or one != one


def test_a_flipped_bit_that_goes_unnoticed_changes_nothing(whole, tmp_path) -> None:
    draw, path = random.Random("flips"), tmp_path / "last.ckpt"
    path.write_bytes(whole)
    before, found = read_checkpoint(path), 0
    for _ in range(200):
        path.write_bytes(CHECKPOINTS["flipped"](draw, whole, tmp_path))
        if harmless(path):
            found += 1
            assert same(read_checkpoint(path), before)
    assert found > 0


PLACES = (
    ("state_dict",),
    ("optimizer_states", 0),
    ("optimizer_states", 1),
    ("hyper_parameters", "config"),
    ("hyper_parameters", "config", "generator"),
)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_a_state_that_does_not_fit_is_refused(cli, place, whole, tmp_path) -> None:
    """Even where the file is sealed: by another version, or by hand."""
    draw = random.Random(f"place {place}")
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    path.write_bytes(whole)
    contents = torch.load(path, weights_only=True)
    node = contents
    for step in place:
        node = node[step]
    key = draw.choice(list(node))
    node[f"{key}x"] = node.pop(key)
    torch.save(sealed(contents), path)
    before = path.read_bytes()
    result = cli("train", "resume=run")
    check(result, f"{place} {key}")
    assert path.read_bytes() == before
