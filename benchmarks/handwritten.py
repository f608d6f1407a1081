"""What the framework costs: `gan-gradflow train` beside a loop written by hand.

Both do the same work on the main job's networks, data and batch: the scheme of PyTorch's
DCGAN example (fakes detached in the discriminator's step), tuned: data in memory as one
tensor, the discriminator frozen in the generator's step, fused Adam, channels last; with
the same penalty and the same weight averaging. The framework's side is the whole command
with its logging, grids and progress, without the quality evaluation, which the loop does
not have either. Rounds alternate, so both see the same machine.

    python benchmarks/handwritten.py
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import lightning as L
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from torch.nn.functional import softplus

from gan_gradflow.cli import CONFIG_DIR, build
from gan_gradflow.cli.console import quiet_libraries
from gan_gradflow.datamodules.base import TensorDataModule


class Clock(L.Callback):
    """The time at which every iteration ended."""

    def __init__(self) -> None:
        self.ended: list[float] = []

    def on_train_batch_end(self, *_) -> None:
        self.ended.append(time.perf_counter())


def configuration(folder: str, iterations: int, overrides: list[str]) -> dict:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose(
            "train",
            [
                f"max_iterations={iterations}",
                "metrics=none",
                "callbacks.best_checkpoint=null",
                f"run_dir={folder}",
                *overrides,
            ],
            return_hydra_config=True,
        )
        HydraConfig.instance().set_config(cfg)
    OmegaConf.set_struct(cfg, False)
    cfg.pop("hydra")
    return OmegaConf.to_container(cfg, resolve=True)


def by_framework(config: dict, datamodule: TensorDataModule) -> list[float]:
    module = build.build_module(config)
    callbacks = build.build_callbacks(config, datamodule)
    clock = Clock()
    trainer = build.build_trainer(config, [*callbacks, clock])
    trainer.fit(module, datamodule=datamodule)
    return clock.ended


def by_hand(config: dict, datamodule: TensorDataModule, iterations: int) -> list[float]:
    module = build.build_module(config)  # for the networks alone
    generator, discriminator = module.generator.network, module.discriminator.network
    gamma = config["penalty"]["gamma"]
    generator_adam, discriminator_adam = module.configure_optimizers()
    averaged = [p.detach().clone() for p in generator.parameters()]
    data, batch = datamodule.train_reals, config["data"]["batch_size"]
    order = torch.randperm(len(data))
    ended = []
    for iteration in range(iterations):
        start = iteration * batch % (len(data) - batch)
        reals = data[order[start : start + batch]] / 127.5 - 1
        reals.requires_grad_()
        with torch.no_grad():
            fakes = generator(torch.randn(batch, generator.latent_dim))
        real_scores, fake_scores = discriminator(reals), discriminator(fakes)
        (slope,) = torch.autograd.grad(real_scores.sum(), reals, create_graph=True)
        penalty = gamma / 2 * slope.flatten(1).square().sum(1).mean()
        loss = (softplus(-real_scores) + softplus(fake_scores)).mean() + penalty
        discriminator_adam.zero_grad()
        loss.backward()
        discriminator_adam.step()
        discriminator.requires_grad_(False)
        fakes = generator(torch.randn(batch, generator.latent_dim))
        loss = softplus(-discriminator(fakes)).mean()
        generator_adam.zero_grad()
        loss.backward()
        generator_adam.step()
        discriminator.requires_grad_(True)
        with torch.no_grad():
            torch._foreach_lerp_(averaged, list(generator.parameters()), 0.005)
        ended.append(time.perf_counter())
    return ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--iterations", type=int, default=150)
    parser.add_argument("overrides", nargs="*", help="for the main job's configuration")
    args = parser.parse_args()
    quiet_libraries()
    times: dict[str, list[float]] = {"by hand": [], "gan-gradflow": []}
    warm_up = 20
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as folder:
            config = configuration(folder, args.iterations, args.overrides)
            L.seed_everything(config["seed"], verbose=False)
            datamodule = build.build_datamodule(config)
            Path(folder).mkdir(exist_ok=True)
            hand = by_hand(config, datamodule, args.iterations)
            framework = by_framework(config, datamodule)
        for name, ended in (("by hand", hand), ("gan-gradflow", framework)):
            span = ended[-1] - ended[warm_up - 1]
            times[name].append(1e3 * span / (len(ended) - warm_up))
    table = Table(title=f"ms per iteration, {torch.get_num_threads()} threads")
    for column in ("", "median", "lowest", "highest", "iterations/s"):
        table.add_column(column)
    for name, spans in times.items():
        middle = statistics.median(spans)
        figures = (middle, min(spans), max(spans), 1e3 / middle)
        table.add_row(name, *(f"{figure:.1f}" for figure in figures))
    ratios = [
        f / h for f, h in zip(times["gan-gradflow"], times["by hand"], strict=True)
    ]
    table.add_row(
        "ratio",
        *(f"{r:.3f}" for r in (statistics.median(ratios), min(ratios), max(ratios))),
    )
    Console().print(table)


if __name__ == "__main__":
    main()
