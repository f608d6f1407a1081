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
from torch.distributions import Bernoulli, Independent, Normal, OneHotCategorical

from gan_gradflow.bridges.baselines import (
    LeaveOneOutBaseline,
    NoBaseline,
    OptimalBaseline,
)
from gan_gradflow.bridges.draws import AntitheticDraws, QuasiMonteCarloDraws
from gan_gradflow.bridges.relax import RELAXBridge
from gan_gradflow.bridges.reward_to_go import RewardToGoBridge
from gan_gradflow.bridges.score_function import ScoreFunctionBridge
from gan_gradflow.cli import CONFIG_DIR
from gan_gradflow.cli.build import build_datamodule, build_module, build_trainer
from gan_gradflow.cli.console import quiet_libraries
from gan_gradflow.critic import Critic
from gan_gradflow.processes import Processes
from gan_gradflow.types import Access

BRIDGES = sorted(path.stem for path in (CONFIG_DIR / "bridge").glob("*.yaml"))
CASES = {name: (f"bridge={name}",) for name in BRIDGES} | {
    "exact_one_stage": ("bridge=exact_one_stage", "penalty=r1"),
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
        "queries.warm_up=0",
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
    "augmentation": ("~augmentation", "+augmentation._target_=acting.Faded"),
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


LOGITS = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).double()
EMISSIONS = {
    "normal": lambda logits: Independent(Normal(logits, logits.exp()), 1),
    "bernoulli": lambda logits: Independent(Bernoulli(logits=logits), 1),
    "one of five": lambda logits: OneHotCategorical(logits=logits),
}
DISCRETE = {
    "score function": lambda: ScoreFunctionBridge(
        4, 0.1, AntitheticDraws(), LeaveOneOutBaseline()
    ),
    "evenly spread": lambda: ScoreFunctionBridge(
        4, 0.1, QuasiMonteCarloDraws(2), OptimalBaseline()
    ),
    "relax": lambda: RELAXBridge(4, 0.1, 8, 0.1),
}


def pulls(processes: Processes) -> dict[str, torch.Tensor]:
    """The pulls on the parameters of distributions, of all rows."""
    found = {}
    for bridge_name, make in DISCRETE.items():
        for emission_name, emission in EMISSIONS.items():
            bridge = make()
            bridge.share_with(processes)
            own = processes.own(LOGITS).clone().requires_grad_()
            critic = Critic(lambda x: x.square().sum(-1).sin(), access=Access.SCORES)
            torch.manual_seed(5)
            for _ in range(2):
                losses = bridge(critic, emission(own))
            losses.sum().backward()
            found[f"{bridge_name}, {emission_name}"] = processes.gather(own.grad)
    return found | {"reward to go, tokens": reward_to_go(processes)}


class Tokens(Independent):
    """Independent tokens, which say how likely each was."""

    def token_log_prob(self, value: torch.Tensor) -> torch.Tensor:
        return self.base_dist.log_prob(value)


def reward_to_go(processes: Processes) -> torch.Tensor:
    """The pulls on the logits of tokens that are scored at each position."""
    bridge = RewardToGoBridge(4, 0.1, AntitheticDraws(), NoBaseline(), 0.5)
    bridge.share_with(processes)
    own = processes.own(LOGITS).clone().requires_grad_()
    critic = Critic(lambda x: x.cumsum(-1).sin(), access=Access.SCORES, positions=5)
    torch.manual_seed(5)
    bridge(critic, Tokens(Bernoulli(logits=own), 1)).sum().backward()
    return processes.gather(own.grad)


def asked_together(processes: Processes) -> tuple[torch.Tensor, int]:
    """The scores of seven samples that every process has, and the samples asked here."""
    asked = []

    def score(samples: torch.Tensor) -> torch.Tensor:
        asked.append(len(samples))
        return samples.sum(-1)

    critic = Critic(processes.spread(score), access=Access.SCORES)
    return critic(torch.arange(14.0).view(7, 2)), sum(asked)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    quiet_libraries()
    results = {"trained": train_all()}
    processes = Processes.of_default_group()
    results |= {"pulls": pulls(processes), "asked": asked_together(processes)}
    torch.save(results, Path(f"{sys.argv[1]}.{processes.rank}"))
