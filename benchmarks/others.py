"""Queries per second beside other ways to estimate a gradient from scores, same work.

    python benchmarks/others.py

Eight queries for each of 64 samples, for a critic that costs next to nothing and for the
main job's discriminator. TorchOpt differentiates a function of one tensor, so it is given
the whole batch as one point in 64 d dimensions; EvoTorch's functional gradient takes the
batch as a batch; the plain loop is the finite difference of textbooks: for each sample and
each direction, one question. Processor time, in turns; the median of the rates.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from queries import BATCH, parts
from rich.console import Console
from rich.table import Table
from torch import Tensor

from gan_gradflow.critic import Critic
from gan_gradflow.types import Access

NUM_DIRECTIONS, STEP = 4, 0.02


Losses = Callable[[Tensor], Tensor]


def cheap(samples: Tensor) -> Tensor:
    return samples.flatten(1).square().sum(1)


def ours(losses: Losses, x: Tensor):
    number = f"bridge.directions.num_directions={NUM_DIRECTIONS}"
    step = f"bridge.step={STEP}"
    bridge, _ = parts(
        ["bridge=finite_difference", "bridge.central=true", number, step], str(x.device)
    )
    critic = Critic(losses, access=Access.SCORES, chunk_size=256)
    leaf = x.clone().requires_grad_()
    return lambda: bridge(critic, leaf).sum().backward()


def by_loop(losses: Losses, x: Tensor):
    def work() -> None:
        pull = torch.zeros_like(x)
        for row in range(len(x)):
            for _ in range(NUM_DIRECTIONS):
                u = torch.randn_like(x[row])
                above = losses((x[row] + STEP * u).unsqueeze(0))
                below = losses((x[row] - STEP * u).unsqueeze(0))
                pull[row] += (above - below) / (2 * STEP * NUM_DIRECTIONS) * u

    return work


def by_torchopt(losses: Losses, x: Tensor):
    from torchopt.diff.zero_order import zero_order

    @torch.no_grad()
    def mean(point: Tensor) -> Tensor:
        return losses(point).mean()

    estimate = zero_order(torch.randn, "antithetic", 0, NUM_DIRECTIONS, STEP)(mean)
    leaf = x.clone().requires_grad_()
    return lambda: torch.autograd.grad(estimate(leaf), leaf)


def by_evotorch(losses: Losses, x: Tensor):
    from evotorch.distributions import (
        SymmetricSeparableGaussian,
        make_functional_grad_estimator,
    )

    def fitness(samples: Tensor) -> Tensor:
        flat = samples.reshape(-1, *x.shape[1:])
        return losses(flat).reshape(samples.shape[:-1])

    estimate = make_functional_grad_estimator(
        SymmetricSeparableGaussian,
        function=fitness,
        objective_sense="min",
        required_parameters=("mu", "sigma"),
    )
    mean = x.flatten(1)
    sigma, number = torch.full_like(mean, STEP), 2 * NUM_DIRECTIONS
    return lambda: estimate(number, mu=mean, sigma=sigma)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    _, convolutional = parts([], args.device)
    x = torch.rand(BATCH, 1, 28, 28, device=args.device) * 2 - 1
    ways = {
        "gan-gradflow": ours,
        "loop in Python": by_loop,
        "TorchOpt": by_torchopt,
        "EvoTorch": by_evotorch,
    }
    num_queries = BATCH * 2 * NUM_DIRECTIONS
    table = Table("critic", "way", "queries/s", "ours is faster by")
    for kind, losses in (("cheap", cheap), ("convolutional", convolutional)):
        rates: dict[str, list[float]] = {}
        made = {name: way(losses, x) for name, way in ways.items()}
        for number in range(args.rounds + 1):
            for name, work in made.items():
                start = time.process_time()
                work()
                if number:  # the first imports and allocates
                    spent = time.process_time() - start
                    rates.setdefault(name, []).append(num_queries / spent)
        middles = {name: statistics.median(found) for name, found in rates.items()}
        for name, rate in middles.items():
            times = middles["gan-gradflow"] / rate
            table.add_row(kind, name, f"{rate:,.0f}", f"{times:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
