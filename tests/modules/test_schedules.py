"""Learning rates that follow the iteration, which Lightning leaves to the round."""

import lightning as L
import pytest
from rounds import TinyData, make_module, play
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR

RATE = 1e-2


def halved(optimizer):
    """From one to a half in four iterations, in equal steps."""
    return LinearLR(optimizer, 1.0, 0.5, 4)


class Rates(L.Callback):
    """Both players' learning rates at each of their steps."""

    def __init__(self):
        self.seen = {0: [], 1: []}

    def on_before_optimizer_step(self, trainer, module, optimizer):
        player = trainer.optimizers.index(optimizer)
        self.seen[player].append(optimizer.param_groups[0]["lr"] / RATE)


class ResumableData(TinyData):
    def state_dict(self):
        return {}

    def load_state_dict(self, state_dict):
        pass


def test_a_schedule_steps_once_an_iteration_for_both_players(tmp_path):
    rates = Rates()
    module = make_module(n_critic=2, schedule=halved)
    play(module, 5, tmp_path, callbacks=[rates])
    expected = [1, 0.875, 0.75, 0.625, 0.5]
    assert rates.seen[0] == pytest.approx(expected)
    assert rates.seen[1] == pytest.approx([r for r in expected for _ in range(2)])


def test_a_cosine_ends_at_its_floor(tmp_path):
    module = make_module(schedule=lambda o: CosineAnnealingLR(o, 6, 0.0))
    trainer = play(module, 6, tmp_path)
    rates = [o.param_groups[0]["lr"] for o in trainer.optimizers]
    assert rates == pytest.approx([0, 0], abs=1e-12)


def test_the_rate_of_an_iteration_is_logged(tmp_path):
    module = make_module(schedule=halved)
    play(module, 3, tmp_path)
    for player in ("generator", "discriminator"):
        logged = module.scalars[f"learning_rate/{player}"]
        assert logged.item() == pytest.approx(0.75 * RATE)


def test_a_schedule_goes_on_from_a_checkpoint(tmp_path):
    play(make_module(schedule=halved), 2, tmp_path).save_checkpoint(tmp_path / "c.ckpt")
    rates, module = Rates(), make_module(schedule=halved)
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=4,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[rates],
    )
    trainer.fit(module, ResumableData(4), ckpt_path=tmp_path / "c.ckpt")
    assert rates.seen[0] == pytest.approx([0.75, 0.625])
