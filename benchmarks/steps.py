"""How long should the step of a finite difference be, in each precision?

    python benchmarks/steps.py

On f(x) = v . tanh(W x) in 64 dimensions, of which scores, slopes and curvatures are of
order one, prints the error of the directional derivative (root mean square, relative) at
the default step and at the best one. Random directions are of length sqrt(d) and move
what a layer computes as much in any dimension; a coordinate moves it by 1 / sqrt(d) of
that, so its best step is longer. TF32 is float32 with the mantissa of float16, which many
GPUs multiply by; here the factors are rounded to it.
"""

from contextlib import nullcontext

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from gan_gradflow.bridges.directions import (
    CoordinateDirections,
    Directions,
    GaussianDirections,
)
from gan_gradflow.bridges.finite_difference import FiniteDifferenceBridge

DIM, HIDDEN, BATCH = 64, 64, 64
STEPS = [digit * 10.0**power for power in range(-9, 1) for digit in (1, 2, 5)]
PRECISIONS = {
    "bfloat16": torch.bfloat16,
    "autocast": torch.float32,
    "float16": torch.float16,
    "TF32": torch.float32,
    "float32": torch.float32,
    "float64": torch.float64,
}


class TanhCritic:
    def __init__(self, precision: str) -> None:
        self.w = torch.randn(HIDDEN, DIM, dtype=torch.float64) / DIM**0.5
        self.v = torch.randn(HIDDEN, dtype=torch.float64) / HIDDEN**0.5
        self.round = tf32 if precision == "TF32" else torch.Tensor.contiguous

    def __call__(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.round(x) @ self.round(self.w.T.to(x)))
        return self.round(hidden) @ self.round(self.v.to(hidden))

    def slope(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(x @ self.w.T)
        return ((1 - hidden**2) * self.v) @ self.w


def tf32(x: Tensor) -> Tensor:
    if x.dtype is torch.float64:
        return x
    bits = x.contiguous().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


def error(
    critic: TanhCritic, x: Tensor, directions: Tensor, central: bool, step: float
) -> float:
    """Of [f(x + h u) - f(x - h u)] / 2 h or [f(x + h u) - f(x)] / h, over all u."""
    above = critic(x + step * directions).double()
    below = critic(x - step * directions if central else x).double()
    found = (above - below) / (2 * step if central else step)
    truth = (critic.slope(x.double()) * directions.double()).sum(-1)
    return float((found - truth).norm() / truth.norm())


def main() -> None:
    torch.set_num_threads(1)
    families: dict[str, Directions] = {
        "random": GaussianDirections(DIM),
        "coordinate": CoordinateDirections(),
    }
    names = (
        "precision",
        "difference",
        "directions",
        "default",
        "error",
        "best",
        "error",
    )
    table = Table(*names)
    for precision, dtype in PRECISIONS.items():
        torch.manual_seed(0)
        critic, autocast = TanhCritic(precision), nullcontext()
        if precision == "autocast":
            autocast = torch.autocast("cpu", torch.bfloat16)
        x = torch.randn(BATCH, DIM, dtype=torch.float64).to(dtype)
        for central in (False, True):
            for name, family in families.items():
                u = torch.cat(list(family.blocks(x)))
                with autocast:
                    default = FiniteDifferenceBridge(family, central, None).step_for(x)
                    reached = error(critic, x, u, central, default)
                    tried = [(error(critic, x, u, central, h), h) for h in STEPS]
                least, best = min(tried)
                table.add_row(
                    precision,
                    "central" if central else "forward",
                    name,
                    *(f"{one:.1e}" for one in (default, reached, best, least)),
                )
    Console().print(table)


if __name__ == "__main__":
    main()
