"""The callbacks of a run: silent inside an iteration, and beside others that are not."""

from collections import Counter

import lightning as L
import pytest
import torch
from hydra.utils import get_class
from lightning.pytorch.demos.boring_classes import BoringModel
from omegaconf import OmegaConf
from torch.utils.data import DataLoader

from gan_gradflow.callbacks.base import Callback
from gan_gradflow.cli import CONFIG_DIR

OURS = [
    get_class(part._target_)
    for path in sorted((CONFIG_DIR / "callbacks").glob("*.yaml"))
    for name, part in OmegaConf.load(path).items()
    if name != "defaults"
]
INSIDE = {name for name in vars(Callback) if name.startswith("on_")}


@pytest.mark.parametrize("kind", OURS)
def test_a_callback_has_no_hook_that_does_nothing(kind) -> None:
    assert issubclass(kind, Callback)
    inherited = [n for n in INSIDE if getattr(kind, n) is getattr(L.Callback, n)]
    assert not inherited


def test_lightning_passes_over_hooks_that_are_left_out(tmp_path) -> None:
    calls = Counter()

    def counting(name):
        return lambda *_: calls.update([name])

    theirs = type("Theirs", (L.Callback,), {name: counting(name) for name in INSIDE})
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=3,
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Callback(), theirs()],
    )
    trainer.fit(BoringModel(), DataLoader(torch.randn(3, 32)))
    assert calls == dict.fromkeys(INSIDE, 3)
