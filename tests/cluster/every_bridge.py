"""Trains every bridge for a few iterations, on as many processes as the environment says.

    every_bridge.py RESULTS

Each process writes what it ended with to RESULTS.RANK: by case, the parameters, the
bridge's own state, the queries, and whether all processes agreed after each iteration.
"""

import os
import sys
import tempfile
import warnings
from pathlib import Path

import lightning as L
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from gan_gradflow.cli import CONFIG_DIR
from gan_gradflow.cli.build import build_datamodule, build_module, build_trainer
from gan_gradflow.cli.console import quiet_libraries
from gan_gradflow.processes import Processes

BRIDGES = sorted(path.stem for path in (CONFIG_DIR / "bridge").glob("*.yaml"))
CASES = {name: (f"bridge={name}",) for name in BRIDGES} | {
    # On a smooth critic it measures the noise of rounding, which nothing reproduces.
    "adaptive_difference": (
        "bridge=adaptive_difference",
        "channel=quantize",
        "channel.bits=10",
    ),
    "orthonormal": (
        "bridge=finite_difference",
        "bridge/directions=orthonormal",
        "bridge.directions.num_directions=2",
    ),
    "learned baseline": ("bridge=score_function", "bridge/baseline=learned"),
    "moving average": ("bridge=score_function", "bridge/baseline=moving_average"),
    "quasi-Monte-Carlo": ("bridge=score_function", "bridge/draws=quasi_monte_carlo"),
    "adaptive queries": (
        "bridge=finite_difference",
        "queries=adaptive",
        "queries.every_n_iterations=1",
    ),
    "full statistics": ("bridge=surrogate_input", "bridge/statistics=full"),
    "diagonal statistics": ("bridge=surrogate_input", "bridge/statistics=diagonal"),
    "gradient penalty": (
        "objective=wasserstein",
        "penalty=gradient_penalty",
        "~penalty.gamma",
        "n_critic=2",
    ),
}
SHORT = [
    "experiment=ring",
    "max_iterations=4",
    "generator.width=8",
    "discriminator.width=8",
    "data.num_train=200",
    "data.batch_size=12",
    "metrics=none",
    "trainer.precision=64-true",
    "trainer.accelerator=cpu",
    "+trainer.enable_checkpointing=false",
    "run_name=case",
    "run_overrides=[]",
]


class Agreement(L.Callback):
    """Compares the state of all processes after each iteration."""

    def __init__(self) -> None:
        self.held = True

    def on_train_batch_end(self, trainer, module, *_) -> None:
        state = torch.cat([v.double().flatten() for v in module.state_dict().values()])
        states = module.processes.gather(state.unsqueeze(0))
        self.held = self.held and bool((states == states[:1]).all())


def train(overrides: list[str]) -> dict:
    with (
        initialize_config_dir(str(CONFIG_DIR), version_base="1.3"),
        tempfile.TemporaryDirectory() as folder,
    ):
        cfg = compose("train", [*SHORT, f"run_dir={folder}", *overrides])
        config = OmegaConf.to_container(cfg, resolve=True) | {"logger": None}
        L.seed_everything(config["seed"], verbose=False)
        datamodule, module = build_datamodule(config), build_module(config)
        agreement = Agreement()
        trainer = build_trainer(config, [agreement])
        trainer.fit(module, datamodule=datamodule)
    return {
        "parameters": torch.cat([p.flatten() for p in module.parameters()]).detach(),
        "learned": [
            b.clone() for b in (*module.bridge.buffers(), *module.query_plan.buffers())
        ],
        "queries": module.critic.queries,
        "agreed": agreement.held,
        "processes": module.processes.size,
    }


def train_all() -> dict[str, dict]:
    several = ["trainer=ddp"] if "WORLD_SIZE" in os.environ else []
    return {name: train([*several, *case]) for name, case in CASES.items()}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    quiet_libraries()
    results = train_all()
    torch.save(results, Path(f"{sys.argv[1]}.{Processes.of_default_group().rank}"))
