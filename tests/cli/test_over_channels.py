"""Training over a channel, and what is left when a simulator fails on the way."""

import json
import shutil
import sys

import lightning as L
import numpy as np
import pytest
import torch

from gan_gradflow.cli import CONFIG_DIR
from gan_gradflow.modules.checkpoint import sealed

ON_POINTS = ("affine", "awgn", "constraint", "identity", "quantize", "threshold")


@pytest.mark.parametrize("channel", ON_POINTS)
def test_scores_are_enough_over_every_channel(train, channel) -> None:
    result = train(f"channel={channel}", "bridge=score_function")
    assert result.code == 0, result.err


def test_straight_through_trains_over_a_channel_without_a_gradient(train) -> None:
    assert train("channel=quantize", "bridge=straight_through").code == 0


class Poison(L.Callback):
    """Makes a weight of the generator NaN before the second iteration."""

    def on_train_batch_start(self, trainer, module, *_) -> None:
        if trainer.global_step == 1:
            with torch.no_grad():
                next(module.generator.network.parameters())[0] = torch.nan


@pytest.mark.parametrize(
    ("channel", "bridge"),
    [
        ("identity", "surrogate_input"),
        *((c, "score_function") for c in ("identity", "quantize", "threshold")),
    ],
)
def test_who_watches_a_diverged_generator_lets_the_run_go_on(
    train, tmp_path, channel, bridge
) -> None:
    watching = ("quality", "collapse_alarm", "sample_grid", "gradient_flow")
    result = train(
        f"channel={channel}",
        f"bridge={bridge}",
        "on_nonfinite=skip",
        "+callbacks.poison._target_=test_over_channels.Poison",
        *(f"callbacks.{name}.every_n_iterations=1" for name in watching),
    )
    assert result.code == 0, result.err
    summary = json.loads((tmp_path / "outputs/short/summary.json").read_text())
    assert summary["skipped"] == 3


def test_fakes_that_cannot_be_judged_end_the_run_with_one_message(train) -> None:
    every = "callbacks.quality.every_n_iterations=1"
    result = train(
        "optimizer.generator.lr=1e38", every, "callbacks.collapse_alarm=null"
    )
    assert result.code == 1
    assert "fakes hold NaN or infinity: the generator has diverged" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize("way", ["dies", "nan"])
def test_a_simulator_that_fails_ends_the_run_with_its_inputs_saved(
    train, tmp_path, way
) -> None:
    arguments = f"{{log: {tmp_path}/log, calls: 12, way: {way}}}"
    result = train(
        "channel=simulator",
        "channel/workers=python",
        "channel.workers.function=late.Late",
        f"channel.workers.arguments={arguments}",
        "bridge=score_function",
        "data.batch_size=16",
    )
    run = tmp_path / "outputs/short"
    assert result.code == 1
    assert "3 attempts on the same" in result.err
    saved = np.load(run / "failures" / "failed_0.npz")["samples"]
    assert 0 < len(saved) <= 64
    checkpoint = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["global_step"] > 0


def test_a_checkpoint_does_not_run_its_simulator_unasked(train, cli, tmp_path) -> None:
    train(
        "channel=simulator",
        "channel/workers=python",
        "channel.workers.function=late.Late",
        f"channel.workers.arguments={{log: {tmp_path}/log, calls: 999, way: nan}}",
        "bridge=score_function",
    )
    last = "checkpoint=outputs/short/checkpoints/last.ckpt"
    refused = cli("sample", last)
    assert refused.code == 2
    assert "trust=[gan_gradflow.workers]" in refused.err
    assert cli("sample", last, "trust=[gan_gradflow.workers]").code == 0


@pytest.fixture
def simulated(train, tmp_path):
    """A checkpoint of a run over a program, and the arguments that trust it."""

    def run(*arguments: str) -> tuple[str, str]:
        program = tmp_path / "program.py"
        program.write_text(ECHO)
        program.chmod(0o700)
        result = train(
            "channel=simulator",
            "channel/workers=program",
            "channel.workers.command=[./program.py]",
            "channel.workers.retries=0",
            "bridge=score_function",
            *arguments,
        )
        assert result.code == 0, result.err
        program.unlink()
        last = "outputs/short/checkpoints/last.ckpt"
        return f"checkpoint={last}", "trust=[gan_gradflow.workers]"

    return run


ECHO = f"""#!{sys.executable}
import json, sys
for line in sys.stdin:
    print(json.dumps({{"outputs": json.loads(line)["samples"]}}), flush=True)
"""
COMMANDS = {"sample": (), "evaluate": ("num_resamples=2", "num_subsets=1")}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_program_that_samples_do_not_pass_may_be_gone(
    cli, simulated, command
) -> None:
    trained = simulated("channel.on_samples=false")
    result = cli(command, *trained, *COMMANDS[command])
    assert result.code == 0, result.err


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("gone", [True, False])
def test_a_program_that_fails_while_samples_are_drawn_is_named(
    cli, simulated, tmp_path, command, gone
) -> None:
    trained = simulated()
    if not gone:
        (tmp_path / "program.py").symlink_to(shutil.which("false"))
    result = cli(command, *trained, *COMMANDS[command], "run_name=none")
    assert result.code == 2
    told = "command starts ./program.py" if gone else "./program.py ended (exit code 1)"
    assert f"{command}: channel: the simulator failed: {told}" in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not (tmp_path / "outputs/none").exists()


@pytest.mark.parametrize("channel", ["identity", "quantize"])
@pytest.mark.parametrize("command", COMMANDS)
def test_samples_that_are_not_finite_are_told_and_not_saved(
    train, cli, tmp_path, command, channel
) -> None:
    assert train(f"channel={channel}", "bridge=score_function").code == 0
    path = tmp_path / "outputs/short/checkpoints/last.ckpt"
    contents = torch.load(path, weights_only=True)
    for name, weight in contents["state_dict"].items():
        if name.startswith("generator.averaged.module.") and name.endswith("bias"):
            weight.fill_(torch.nan)
    torch.save(sealed(contents), path)
    result = cli(command, f"checkpoint={path}", *COMMANDS[command], "run_name=none")
    assert result.code == 2
    assert "NaN or infinity: the generator has diverged" in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not (tmp_path / "outputs/none").exists()


def test_a_simulator_that_fails_at_once_is_bad_input(train, tmp_path) -> None:
    function = "channel.workers.function.path=math.sqrt"
    result = train("channel=simulator", function, "bridge=score_function")
    assert result.code == 2
    assert "simulator failed: it raised TypeError" in result.err
    assert not (tmp_path / "outputs/short").exists()


def test_every_channel_is_tried_somewhere() -> None:
    found = {path.stem for path in (CONFIG_DIR / "channel").glob("*.yaml")}
    assert found == {*ON_POINTS, "jpeg", "simulator"}
