"""NaN and infinity: what is named, what is undone, and what is skipped."""

import math

import lightning as L
import pytest
import torch
from rounds import BRIDGES, TinyGenerator, make_module, play
from torch import nn

from gan_gradflow.bridges.adjoint.dense import DenseAdjoint
from gan_gradflow.bridges.baselines import LearnedBaseline
from gan_gradflow.bridges.draws import IndependentDraws
from gan_gradflow.bridges.score_function import ScoreFunctionBridge
from gan_gradflow.channels.simulator import SimulatorChannel
from gan_gradflow.channels.threshold import ThresholdChannel
from gan_gradflow.modules.nonfinite import NonFiniteError
from gan_gradflow.modules.snapshot import Snapshot
from gan_gradflow.workers.in_process import InProcess

LEARNING = {
    **BRIDGES,
    "learned_baseline": lambda: ScoreFunctionBridge(
        2, 0.1, IndependentDraws(), LearnedBaseline(4, 0.01)
    ),
}


class FailAt(L.Callback):
    """Makes a parameter's gradient NaN in one iteration; keeps the state before it."""

    def __init__(self, iteration: int, name: str) -> None:
        self.iteration, self.name = iteration, name
        self.before: dict = {}

    def on_train_batch_start(self, trainer, module, *_) -> None:
        if trainer.global_step == self.iteration:
            self.before = everything(module)
            parameter = module.get_parameter(self.name)
            self.hook = parameter.register_hook(lambda gradient: gradient * math.nan)

    def on_train_batch_end(self, trainer, module, *_) -> None:
        if trainer.global_step == self.iteration + 1:
            self.hook.remove()
            self.after = everything(module)


def everything(module) -> dict:
    state = {f"module.{k}": v.clone() for k, v in module.state_dict().items()}
    for number, optimizer in enumerate(module.trainer.optimizers):
        for index, moments in optimizer.state_dict()["state"].items():
            for name, value in moments.items():
                state[f"{number}.{index}.{name}"] = value.clone()
    return state


def changed(before: dict, after: dict) -> list[str]:
    keys = before.keys() | after.keys()
    return [
        k
        for k in keys
        if k not in before or k not in after or not torch.equal(before[k], after[k])
    ]


LAST = "generator.network.layers.3.bias"


@pytest.mark.parametrize("iteration", [0, 2])
@pytest.mark.parametrize("bridge", LEARNING)
def test_a_failed_iteration_leaves_everything_as_it_was(
    bridge, iteration, tmp_path
) -> None:
    module, fail = make_module(LEARNING[bridge](), n_critic=2), FailAt(iteration, LAST)
    with pytest.raises(NonFiniteError):
        play(module, 4, tmp_path, callbacks=[fail])
    assert module.is_whole
    assert changed(fail.before, everything(module)) == []


@pytest.mark.parametrize("bridge", LEARNING)
def test_a_skipped_iteration_is_counted_and_changes_nothing(bridge, tmp_path) -> None:
    module = make_module(LEARNING[bridge](), on_nonfinite="skip")
    fail = FailAt(1, LAST)
    trainer = play(module, 4, tmp_path, callbacks=[fail])
    assert (trainer.global_step, module.skipped) == (4, 1)
    assert changed(fail.before, fail.after) == []
    assert len(changed(fail.after, everything(module))) > 0


@pytest.mark.parametrize("name", [LAST, "discriminator.network.layers.2.weight"])
def test_the_parameter_and_the_iteration_are_named(name, tmp_path) -> None:
    with pytest.raises(NonFiniteError) as stopped:
        play(make_module(), 4, tmp_path, callbacks=[FailAt(2, name)])
    assert f"the gradient of {name} is not finite" in str(stopped.value)
    assert "iteration 3" in str(stopped.value)


def test_a_weight_that_went_wrong_is_named(tmp_path) -> None:
    module = make_module()
    with torch.no_grad():
        module.get_parameter(LAST)[0] = math.inf
    with pytest.raises(NonFiniteError, match=rf"{LAST} is not finite in iteration 1"):
        play(module, 2, tmp_path)


class InfiniteOnce(nn.Module):
    """A discriminator one of whose calls returns infinity."""

    def __init__(self, call: int) -> None:
        super().__init__()
        self.layer, self.left = nn.Linear(4, 1), call

    def forward(self, samples):
        self.left -= 1
        scores = self.layer(samples).squeeze(-1)
        return scores - (math.inf if self.left == 0 else 0)


def test_infinite_scores_of_a_black_box_can_be_skipped(tmp_path) -> None:
    module = make_module(
        BRIDGES["finite_difference"](),
        discriminator=InfiniteOnce(6),
        on_nonfinite="skip",
    )
    trainer = play(module, 4, tmp_path)
    assert (trainer.global_step, module.skipped) == (4, 1)
    assert module.critic.queries == 4 * 6 * 8  # those of the skipped one were asked


class NaNOnce(TinyGenerator):
    """A generator that is NaN in one of its calls."""

    def __init__(self, call: int) -> None:
        super().__init__()
        self.left = call

    def forward(self, latents):
        self.left -= 1
        return super().forward(latents) * (math.nan if self.left == 0 else 1)


@pytest.mark.parametrize("call", [3, 4])  # for the discriminator, for the generator
@pytest.mark.parametrize("bridge", ["finite_difference", "score_function"])
def test_samples_that_no_channel_may_clean_can_be_skipped(
    bridge, call, tmp_path
) -> None:
    module = make_module(
        BRIDGES[bridge](),
        channel=ThresholdChannel(0.0, True, True),
        generator=NaNOnce(call),
        on_nonfinite="skip",
    )
    trainer = play(module, 4, tmp_path)
    assert (trainer.global_step, module.skipped) == (4, 1)


def test_reals_that_are_not_finite_are_told_from_a_diverged_generator(tmp_path) -> None:
    channel = ThresholdChannel(0.0, on_reals=True, on_samples=True)
    module = make_module(BRIDGES["finite_difference"](), channel=channel)
    module.play = lambda batch, *optimizers: type(module).play(
        module, batch._replace(reals=batch.reals * math.nan), *optimizers
    )
    with pytest.raises(NonFiniteError, match="the mean score of reals is nan"):
        play(module, 1, tmp_path)


def test_what_was_simulated_counts_in_a_skipped_iteration(tmp_path) -> None:
    same = InProcess(lambda samples: samples, 0, None)
    channel = SimulatorChannel(same, [4], False, False, False)
    bridge = BRIDGES["finite_difference"]()
    module = make_module(bridge, channel=channel, on_nonfinite="skip")
    play(module, 4, tmp_path, callbacks=[FailAt(1, LAST)])
    assert module.skipped == 1
    assert channel.figures() == {"calls": 4 * (6 + 6 * 8)}


def test_what_was_not_solved_counts_in_an_iteration_that_is_undone() -> None:
    solver = DenseAdjoint(None, 1, "warn")
    before = Snapshot(solver, (), torch.optim.SGD([nn.Parameter(torch.zeros(1))]))
    before.take()
    solver.unconverged = 5
    before.restore()
    assert solver.unconverged == 5
