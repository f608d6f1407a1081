"""The alarm: what makes it sound, what it then does, and that it touches nothing."""

import math
from types import SimpleNamespace
from unittest.mock import Mock

import lightning as L
import pytest
import torch
from torch import nn

from gan_gradflow.callbacks.collapse_alarm import CollapseAlarm
from gan_gradflow.callbacks.collapse_signs import CollapseSigns, Signs
from gan_gradflow.callbacks.quality import QualityReport
from gan_gradflow.metrics.diversity import Diversity
from gan_gradflow.metrics.none import NoQuality

HEALTHY = Signs(spread=0.9, modes=0.8, accuracy=0.7, margin=1.0)
COLLAPSED = HEALTHY._replace(modes=0.2)
LOST = HEALTHY._replace(accuracy=1.0)


class Distance(NoQuality):
    """A measure with a main figure, which the tests set."""

    primary = "distance"


def make_alarm(tmp_path, **changes) -> CollapseAlarm:
    arguments = {
        "every_n_iterations": 1,
        "num_samples": 16,
        "warm_up": 0,
        "patience": 3,
        "least_modes": 0.5,
        "least_spread": 0.2,
        "most_accuracy": 0.99,
        "on_collapse": "continue",
        "folder": str(tmp_path),
        "seed": 1,
    }
    return CollapseAlarm(**(arguments | changes))


def run(
    alarm: CollapseAlarm,
    measured: list[Signs],
    figures: list[float] = (),
    every: int = 1,
):
    """Let the alarm see these measurements; a figure of quality in each `every`-th."""
    quality = QualityReport(Distance(), 1, 1, file="")
    queue = iter(measured)
    alarm._quality = quality
    alarm._signs = SimpleNamespace(
        measure=lambda _: next(queue), least=Diversity(0.95, 0.95)
    )
    trainer = Mock(
        spec=L.Trainer,
        global_step=0,
        loggers=[Mock()],
        callbacks=[],
        should_stop=False,
        is_global_zero=True,
        strategy=SimpleNamespace(reduce_boolean_decision=lambda due, all: due),
    )
    figures = iter(figures)
    for _ in measured:
        trainer.global_step += 1
        if trainer.global_step % every == 0 and (figure := next(figures, None)):
            quality.latest = {"distance": float(figure)}
            quality.measured_in = trainer.global_step
        alarm.on_train_batch_end(trainer, None)
    return trainer


@pytest.mark.parametrize(
    ("measured", "alarms"),
    [
        ([HEALTHY] * 5, 0),
        ([COLLAPSED] * 2 + [HEALTHY] + [COLLAPSED] * 2, 0),
        ([COLLAPSED] * 3, 1),
        ([COLLAPSED] * 9, 1),
        ([COLLAPSED] * 3 + [HEALTHY] + [COLLAPSED] * 3, 2),
        ([HEALTHY._replace(spread=0.1)] * 3, 1),
    ],
)
def test_a_collapse_sounds_once_when_it_is_seen_three_times(
    tmp_path, measured, alarms
) -> None:
    alarm = make_alarm(tmp_path)
    trainer = run(alarm, measured)
    assert len(alarm.alarms) == alarms
    assert not trainer.should_stop


def test_nothing_sounds_in_the_warm_up(tmp_path) -> None:
    alarm = make_alarm(tmp_path, warm_up=4)
    run(alarm, [COLLAPSED] * 6)
    assert alarm.alarms == []


def test_a_winning_discriminator_is_an_alarm_only_while_quality_stands(
    tmp_path,
) -> None:
    teaching, lost = make_alarm(tmp_path), make_alarm(tmp_path)
    run(teaching, [LOST] * 9, figures=[9.0, 8, 7, 6, 5, 4, 3, 2, 1])
    run(lost, [LOST] * 9, figures=[9.0, 9, 8, 8, 8, 8, 8, 8, 8])
    assert teaching.alarms == []
    assert len(lost.alarms) == 1
    assert "lost game in iteration 8" in lost.alarms[0]
    assert "distance 8 after 8 in iteration 3" in lost.alarms[0]


def standing(trainer) -> list[int]:
    """What was logged of how long the quality stands."""
    logged = [call.args[0] for call in trainer.loggers[0].log_metrics.call_args_list]
    return [f[TAG] for f in logged if TAG in f]


TAG = "collapse/iterations_since_best"


def test_quality_that_is_measured_seldom_stands_when_it_was_measured_no_better(
    tmp_path,
) -> None:
    teaching, lost = make_alarm(tmp_path), make_alarm(tmp_path)
    trainer = run(teaching, [LOST] * 40, figures=[4.0, 3, 2, 1], every=10)
    assert teaching.alarms == []
    assert standing(trainer) == [0] * 31
    trainer = run(lost, [LOST] * 40, figures=[4.0, 3, 3, 3], every=10)
    assert len(lost.alarms) == 1
    assert "lost game in iteration 32" in lost.alarms[0]
    assert standing(trainer) == [0] * 20 + list(range(10, 21))


def test_an_alarm_stops_the_run_if_it_is_told_to(tmp_path) -> None:
    alarm = make_alarm(tmp_path, on_collapse="stop")
    assert run(alarm, [COLLAPSED] * 3).should_stop
    assert alarm.alarms[0].endswith("stopping")


def test_a_resumed_run_counts_on(tmp_path) -> None:
    before, after = make_alarm(tmp_path), make_alarm(tmp_path)
    run(before, [COLLAPSED] * 2, figures=[3.0, 2.0])
    after.load_state_dict(before.state_dict())
    run(after, [COLLAPSED])
    assert len(after.alarms) == 1


class Layers(nn.Sequential):
    """Scores samples and does not look at labels."""

    def forward(self, samples, labels):
        return super().forward(samples).squeeze(1)


class Players(L.LightningModule):
    """A generator of given fakes, and a discriminator with batch norm and dropout."""

    def __init__(self, fakes) -> None:
        super().__init__()
        self.generator = SimpleNamespace(
            latent_dim=2,
            received=lambda z, averaged: fakes,
            labels_for=lambda count: None,
        )
        self.discriminator = Layers(
            nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 1)
        )

    def received_reals(self, reals):
        return reals


class Shift(nn.Module):
    """The sample's element, and a constant."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, samples, labels):
        return samples[:, 0] + self.shift


def test_measuring_changes_neither_a_player_nor_a_random_number() -> None:
    reals = torch.randn(64, 2)
    signs = CollapseSigns(reals, None, lambda x: x, 16, seed=1, pack_size=1)
    players = Players(torch.randn(16, 2))
    before = {k: v.clone() for k, v in players.state_dict().items()}
    state = torch.get_rng_state()
    signs.measure(players)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in players.state_dict().items())
    assert players.discriminator.training


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_accuracy_and_margin_do_not_depend_on_what_is_added_to_scores(shift) -> None:
    reals = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    signs = CollapseSigns(reals, None, lambda x: x, 2, seed=1, pack_size=1)
    players = Players(signs.reals - 1.5)
    players.discriminator = Shift(shift)
    found = signs.measure(players)
    own = signs.reals.flatten()
    right = (own[:, None] > own - 1.5).double().mean()
    assert found.accuracy == pytest.approx(float(right))
    assert found.margin == pytest.approx(1.5 / float(own.std()), rel=1e-4)


def test_fakes_that_are_no_numbers_have_no_diversity() -> None:
    signs = CollapseSigns(
        torch.randn(64, 2), None, lambda x: x, 16, seed=1, pack_size=1
    )
    players = Players(torch.full((16, 2), float("nan")))
    found = signs.measure(players)
    assert found[:2] == (0.0, 0.0)
    assert math.isnan(found.accuracy)
    assert math.isnan(found.margin)


class Pairs(nn.Module):
    """One score for each two samples."""

    def forward(self, samples, labels):
        return samples.reshape(-1, 4).sum(1)


@pytest.mark.parametrize(("num_reals", "size"), [(50, 24), (8, 4), (64, 30)])
def test_samples_make_up_whole_packs(num_reals, size) -> None:
    reals = torch.randn(num_reals, 2)
    signs = CollapseSigns(reals, None, lambda x: x, 31, seed=1, pack_size=2)
    players = Players(torch.randn(size, 2))
    players.discriminator = Pairs()
    assert len(signs.reals) == size
    assert 0 <= signs.measure(players).accuracy <= 1


def test_every_fit_has_the_reals_of_its_own_data(tmp_path) -> None:
    alarm, module = make_alarm(tmp_path), Mock(spec=L.LightningModule)
    module.discriminator = SimpleNamespace(network=Pairs())
    for mean in (0.0, 100.0):
        reals = mean + torch.randn(50, 2)
        data = SimpleNamespace(held_out_floats=reals.__getitem__, held_out_labels=None)
        trainer = Mock(spec=L.Trainer, datamodule=data, callbacks=[])
        alarm.on_fit_start(trainer, module)
        assert abs(float(alarm._signs.reals.mean()) - mean) < 1
        alarm.on_fit_end(trainer, module)


@pytest.mark.parametrize(
    ("num_reals", "num_samples", "pack_size", "told"),
    [
        (3, 256, 1, "there are 3 held-out samples, .* at least 4; raise data.num_held"),
        (7, 256, 2, "there are 7 held-out samples, .* at least 8; raise data.num_held"),
        (50, 5, 3, "num_samples is 5, and packs of 3 need at least 6; raise it"),
    ],
)
def test_not_enough_for_two_packs_is_named(
    num_reals, num_samples, pack_size, told
) -> None:
    reals = torch.randn(num_reals, 2)
    with pytest.raises(ValueError, match=told):
        CollapseSigns(reals, None, lambda x: x, num_samples, 1, pack_size)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("every_n_iterations", 0),
        ("num_samples", 1),
        ("warm_up", -1),
        ("patience", 0),
        ("least_modes", 1.0),
        ("least_spread", 0.0),
        ("most_accuracy", 0.5),
    ],
)
def test_a_number_out_of_range_is_named(tmp_path, key, value) -> None:
    with pytest.raises(ValueError, match=f"{key}.*got {value}"):
        make_alarm(tmp_path, **{key: value})
