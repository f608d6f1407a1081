"""Does an adaptive number of queries reach a quality with fewer than any fixed number?

    python benchmarks/adaptive_budget.py judge --plot docs/images/adaptive_judge.png
    python benchmarks/adaptive_budget.py judge_adam
    python benchmarks/adaptive_budget.py points --seeds 3
    python benchmarks/adaptive_budget.py digits --seeds 3

Trains with scores only and K random directions, with every fixed K of a sweep and with
`queries=adaptive` at several ratios, all until the same number of queries is spent (points
for 300 iterations at most, in which the smallest numbers spend less).

* judge, judge_adam: a critic that does not learn, f(x) = |x - goal|^2 / 2 with normal noise
  of standard deviation 1 on every score, pulls 16 copies of a vector of 16 elements from a
  distance of 3 to its goal: gradient descent, and Adam, at a constant rate. The error is
  the distance that is left.
* points: a GAN whose scores come with such noise (standard deviation 4), and which has to
  find out where a Gaussian in 8 dimensions lies. The error is the distance of the means.
* digits: the main job with small players, a smooth critic and no noise but the directions.

An error is the mean of several measurements running: one by luck is no quality. The levels
to be reached follow from the fixed numbers alone: where the third best, the second best and
the best of them are when the queries are spent (medians over seeds). For each plan: the
queries, in thousands, until an error was there; median over seeds, least and most. In the
games the warm-up is 50 iterations, and with the judge, who has nothing to learn, none.
"""

import argparse
import logging
import math
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import lightning as L
import matplotlib.pyplot as plt
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from numpy.random import default_rng
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from gan_gradflow.bridges.directions import GaussianDirections
from gan_gradflow.bridges.finite_difference import FiniteDifferenceBridge
from gan_gradflow.callbacks.quality_record import QualityRecord
from gan_gradflow.cli import CONFIG_DIR, build
from gan_gradflow.cli.console import quiet_libraries
from gan_gradflow.critic import Critic
from gan_gradflow.modules.query_plan import AdaptiveQueries, FixedQueries
from gan_gradflow.types import Access

Curve = list[tuple[int, float]]  # queries so far, and the error


class Plan(NamedTuple):
    """So many directions, or as many as a ratio asks for."""

    directions: int
    ratio: float | None
    largest: int

    def __str__(self) -> str:
        if self.ratio is None:
            return f"{self.directions} direction{'s' * (self.directions > 1)}"
        return f"adaptive, ratio {self.ratio}"


class Setting(NamedTuple):
    """What is trained, and the plans that it is trained with."""

    train: Callable[[Plan, int, int], Curve]
    budget: int
    window: int  # measurements that make an error
    fixed: tuple[int, ...]
    smallest: int
    largest: int
    ratios: tuple[float, ...] = (0.05, 0.1, 0.2)

    def plans(self) -> list[Plan]:
        fixed = [Plan(number, None, number) for number in self.fixed]
        return fixed + [Plan(self.smallest, r, self.largest) for r in self.ratios]


def judge(optimizer: Callable) -> Callable[[Plan, int, int], Curve]:
    """Towards the goal of a noisy judge, with this optimizer."""

    def train(plan: Plan, seed: int, budget: int) -> Curve:
        torch.manual_seed(seed)
        goal, away = torch.randn(2, 16)
        learned = (goal + 3 * away / away.norm()).requires_grad_()
        critic = Critic(
            lambda x: (x - goal).square().sum(1) / 2 + torch.randn(len(x)),
            access=Access.SCORES,
        )
        directions = GaussianDirections(plan.directions)
        bridge = FiniteDifferenceBridge(directions, central=True, step=0.5)
        adaptive = plan.ratio is not None
        queries = (
            AdaptiveQueries(plan.directions, plan.largest, plan.ratio, 0, 4, 0.9)
            if adaptive
            else FixedQueries()
        )
        descent, curve = optimizer([learned]), []
        while critic.queries < budget:
            losses = queries.losses(bridge, critic, learned.expand(16, 16), [learned])
            descent.zero_grad()
            losses.mean().backward()
            queries.observe(learned.grad.norm())
            descent.step()
            curve.append((critic.queries, (learned.detach() - goal).norm().item()))
        return curve

    return train


class Gaussian:
    """A simulator: normal samples around its parameters."""

    def __call__(self, parameters, seed):
        return default_rng(seed).normal(parameters)


def configured(
    figure: str, noise: float, *overrides: str
) -> Callable[[Plan, int, int], Curve]:
    """A run of this configuration, with noise on what the critic tells the bridge."""

    def train(plan: Plan, seed: int, budget: int) -> Curve:
        with tempfile.TemporaryDirectory() as folder:
            run = (f"seed={seed}", f"critic.budget={budget}", f"run_dir={folder}")
            config = composed([*overrides, *run, *asked(plan)])
            L.seed_everything(seed, verbose=False)
            datamodule = build.build_datamodule(config)
            module = build.build_module(config)
            answer = module.critic.function
            if noise:
                module.critic.function = lambda *asked: disturbed(answer(*asked), noise)
            callbacks = build.build_callbacks(config, datamodule, module)
            trainer = build.build_trainer(config, callbacks)
            trainer.fit(module, datamodule=datamodule)
            points = QualityRecord(Path(folder) / "quality.jsonl").read()
            return [(point.queries, point.figures[figure]) for point in points]

    return train


def disturbed(scores: torch.Tensor, noise: float) -> torch.Tensor:
    return scores + noise * torch.randn_like(scores)


def asked(plan: Plan) -> tuple[str, ...]:
    if plan.ratio is None:
        return (f"bridge.directions.num_directions={plan.directions}",)
    return (
        "queries=adaptive",
        f"queries.snr={plan.ratio}",
        f"queries.smallest={plan.directions}",
        f"queries.largest={plan.largest}",
        "queries.warm_up=50",
    )


def composed(overrides: list[str]) -> dict:
    unused = (
        "progress",
        "graceful_stop",
        "throughput",
        "collapse_alarm",
        "gradient_flow",
        "sample_grid",
        "tensorboard_pages",
        "last_checkpoint",
        "best_checkpoint",
    )
    common = ("bridge=finite_difference", "max_iterations=1000")
    nothing = (f"callbacks.{name}=null" for name in unused)
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose(
            "train", [*common, *overrides, *nothing], return_hydra_config=True
        )
        HydraConfig.instance().set_config(cfg)
    OmegaConf.set_struct(cfg, False)
    cfg.pop("hydra")
    return OmegaConf.to_container(cfg, resolve=True) | {"logger": None}


SWEEP = (2, 4, 8, 16, 32, 64, 128)
POINTS = (
    "max_iterations=300",  # of the smallest numbers, which are as far as they get by then
    "data=poisson",
    "data.simulator._target_=adaptive_budget.Gaussian",
    "data.parameters=[1.5,-1.5,1.5,-1.5,1.5,-1.5,1.5,-1.5]",
    "data.event_shape=[8]",
    "data.batch_size=100",
    "generator=mlp",
    "generator.latent_dim=8",
    "generator.width=32",
    "generator.depth=1",
    "discriminator=mlp",
    "discriminator.width=64",
    "discriminator.depth=2",
    "objective=relativistic",
    "penalty=r1_r2",
    "penalty.gamma=0.3",
    "optimizer.generator._target_=torch.optim.SGD",
    "~optimizer.generator.betas",
    "~optimizer.generator.eps",
    "optimizer.generator.lr=0.05",
    "optimizer.discriminator.lr=0.002",
    "optimizer.discriminator.betas=[0.0,0.99]",
    "bridge.central=true",
    "bridge.step=0.5",
    "average_decay=0.9",
    "metrics=parameters",
    "metrics.num_samples=20000",
    "callbacks.quality.every_n_iterations=5",
)
DIGITS = (
    "generator.width=8",
    "discriminator.width=8",
    "average_decay=0.98",
    "metrics.num_samples=1000",
    "callbacks.quality.every_n_iterations=20",
)
SETTINGS = {
    "judge": Setting(
        judge(lambda p: torch.optim.SGD(p, lr=0.05)), 200_000, 10, (1, *SWEEP), 2, 256
    ),
    "judge_adam": Setting(
        judge(lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.5, 0.99))),
        200_000,
        10,
        (1, *SWEEP),
        2,
        256,
    ),
    "points": Setting(
        configured("bias", 4.0, *POINTS),
        4_500_000,
        5,
        SWEEP,
        2,
        256,
        (0.1, 0.2),
    ),
    "digits": Setting(
        configured("frechet_distance", 0.0, *DIGITS),
        50_000,
        2,
        (2, 4, 8, 16),
        2,
        32,
        (0.1,),
    ),
}


def smoothed(curve: Curve, window: int) -> Curve:
    """The mean of a number of measurements running, where the last of them was taken."""
    errors = [error for _, error in curve]
    return [
        (curve[i - 1][0], statistics.fmean(errors[i - window : i]))
        for i in range(window, len(curve) + 1)
    ]


def queries_until(curve: Curve, level: float) -> float:
    """In thousands; infinite where the level was not reached."""
    return next((queries / 1e3 for queries, e in curve if e <= level), math.inf)


def levels_of(found: dict[Plan, list[Curve]]) -> list[float]:
    ends = sorted(
        statistics.median(curve[-1][1] for curve in curves)
        for plan, curves in found.items()
        if plan.ratio is None
    )
    return ends[2::-1]


def cell(values: list[float]) -> str:
    """Median, least and most."""
    if min(values) == math.inf:
        return "never"
    shown = [
        "never" if v == math.inf else f"{v:.3g}" if v < 100 else f"{v:.0f}"
        for v in (statistics.median(values), min(values), max(values))
    ]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"


def verdict(needed: dict[Plan, list[float]], level: float) -> str:
    """Who needed the fewest queries: a fixed number, or an adaptive one?"""
    medians = {plan: statistics.median(values) for plan, values in needed.items()}
    fixed = min((p for p in medians if p.ratio is None), key=medians.__getitem__)
    words = [f"to {level:.3g}: {fixed} took {medians[fixed]:.4g} thousand queries"]
    for plan in (p for p in medians if p.ratio is not None):
        saved = 1 - medians[plan] / medians[fixed]
        took = f"{medians[plan]:.4g}" if saved > -math.inf else "never got there"
        words.append(
            f"{plan} {took}"
            + (f" ({saved:.0%} saved)" if saved > 0 else " (no query saved)")
        )
    return "; ".join(words)


def draw(found: dict[Plan, list[Curve]], levels: list[float], path: str) -> None:
    """The median error of the seeds against queries."""
    axes = plt.figure(figsize=(7, 4.5), layout="constrained").subplots()
    most = max(curve[-1][0] for curves in found.values() for curve in curves)
    least = min(curve[0][0] for curves in found.values() for curve in curves)
    grid = [least * (most / least) ** (i / 200) for i in range(201)]
    fixed = [plan for plan in found if plan.ratio is None]
    for plan, curves in found.items():
        start = max(curve[0][0] for curve in curves)
        asked = [q for q in grid if q >= start]
        errors = [
            statistics.median([e for at, e in c if at <= q][-1] for c in curves)
            for q in asked
        ]
        if plan.ratio is None:
            shade = 0.15 + 0.75 * fixed.index(plan) / len(fixed)
            axes.plot(asked, errors, color=plt.cm.Blues(shade), label=str(plan))
        else:
            shade = 0.5 + 2 * plan.ratio
            axes.plot(asked, errors, color=plt.cm.Reds(shade), label=str(plan), lw=2)
    for level in levels:
        axes.axhline(level, color="grey", linestyle=":", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel="queries", ylabel="error")
    axes.legend(fontsize="small")
    axes.figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--plot", help="where to draw error against queries")
    args = parser.parse_args()
    quiet_libraries()
    logging.getLogger("gan_gradflow").setLevel(logging.ERROR)  # a budget is spent
    setting = SETTINGS[args.setting]
    found: dict[Plan, list[Curve]] = {}
    for plan in setting.plans():
        curves = [
            setting.train(plan, seed, setting.budget)
            for seed in range(1, args.seeds + 1)
        ]
        found[plan] = [smoothed(curve, setting.window) for curve in curves]
        print(f"{plan}: {cell([c[-1][1] for c in found[plan]])}", flush=True)
    levels = levels_of(found)
    if args.plot:
        draw(found, levels, args.plot)
    title = f"{args.setting}, {setting.budget:,} queries, seeds 1 to {args.seeds}"
    table = Table("plan", "error in the end", *(f"to {v:.3g}" for v in levels))
    table.title = title
    needed = [
        {p: [queries_until(c, level) for c in curves] for p, curves in found.items()}
        for level in levels
    ]
    for plan, curves in found.items():
        reached = (cell(at_level[plan]) for at_level in needed)
        table.add_row(str(plan), cell([c[-1][1] for c in curves]), *reached)
    Console(width=120).print(table)
    for level, at_level in zip(levels, needed, strict=True):
        print(verdict(at_level, level))


if __name__ == "__main__":
    main()
