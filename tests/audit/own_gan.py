"""A tiny GAN of this project, composed of its own configuration, and what it sees."""

from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from gan_gradflow.audit.own_round import Seen, without_trainer
from gan_gradflow.cli import build
from gan_gradflow.cli.train import TOP_LEVEL
from gan_gradflow.cli.validate import validate
from gan_gradflow.modules.adversarial import AdversarialModule

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = (
    "experiment=ring",
    "generator.width=16",
    "generator.depth=1",
    "discriminator.width=16",
    "discriminator.depth=1",
    "data.num_train=60",
    "data.batch_size=20",
    "run_dir=none",
    "run_name=none",
    "run_overrides=[]",
)


def make_module(*overrides: str) -> AdversarialModule:
    torch.manual_seed(0)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("train", [*SMALL, *overrides])
    return without_trainer(build.build_module(validate(config, TOP_LEVEL)))


def make_bridge(name: str, *overrides: str):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return instantiate(compose(overrides=[f"+bridge={name}", *overrides]).bridge)


def batch(count: int = 20) -> Seen:
    return Seen(torch.randn(count, 2), None, torch.randn(2, count, 2))
