"""What `fast_convolutions` gains: DCGAN's passes with and without, in turns.

    python benchmarks/convolutions.py

Without, and as the players have it: where it pays. Milliseconds of the processor (or, with
more threads, on the clock), the median of the rounds, and the median of the ratios.
*Penalty* is the discriminator's loss on the reals with R1, to the weights; *pull* the
gradient on the fakes alone.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import softplus

from gan_gradflow.networks.convolution import fast_where_it_pays
from gan_gradflow.networks.dcgan import DCGANDiscriminator, DCGANGenerator

CASES = {(1, 28): 64, (3, 32): 64, (1, 64): 16, (3, 64): 16}  # channels, pixels: batch


Work = tuple[Callable[[], object], nn.Module, bool]  # on samples with a gradient or not


def passes(channels: int, pixels: int, batch: int) -> dict[str, Work]:
    """Each pass that the context can change, with the network whose pass it is."""
    shape, order = [channels, pixels, pixels], torch.channels_last
    generator = DCGANGenerator(64, shape, 32, "batch").to(memory_format=order)
    discriminator = DCGANDiscriminator(shape, 32, "none", spectral_norm=False)
    discriminator.to(memory_format=order)
    weights = list(discriminator.parameters())
    frozen = copy.deepcopy(discriminator).requires_grad_(False)
    latents, reals = torch.randn(batch, 64), torch.randn(batch, *shape)
    with torch.no_grad():
        fakes = generator(latents)

    def penalty() -> list[Tensor]:
        samples = reals.clone().requires_grad_()
        scores = discriminator(samples)
        (slopes,) = torch.autograd.grad(scores.sum(), samples, create_graph=True)
        loss = softplus(-scores).mean() + slopes.square().sum() / (2 * batch)
        return list(torch.autograd.grad(loss, weights))

    def pull() -> Tensor:
        samples = fakes.clone().requires_grad_()
        (slopes,) = torch.autograd.grad(frozen(samples).sum(), samples)
        return slopes

    def forward() -> Tensor:
        with torch.no_grad():
            return generator(latents)

    def both_ways() -> None:
        generator(latents).sum().backward()

    return {
        "penalty": (penalty, discriminator, True),
        "pull": (pull, frozen, True),
        "generator": (forward, generator, False),
        "generator and back": (both_ways, generator, False),
    }


def compare(
    work: Callable[[], object], network: nn.Module, differentiated: bool, rounds: int
) -> tuple[float, float, float]:
    """Milliseconds without and with; the median of the ratios."""

    def where_it_pays() -> AbstractContextManager[object]:
        return fast_where_it_pays(network, differentiated)

    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 2):
        for times, context in zip(spent, (nullcontext, where_it_pays), strict=True):
            start = clock()
            with context():  # type: ignore[operator]
                work()
            times.append(1e3 * (clock() - start))
    plain, fast = (times[2:] for times in spent)
    ratio = statistics.median(b / a for a, b in zip(plain, fast, strict=True))
    return statistics.median(plain), statistics.median(fast), ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    args = parser.parse_args()
    # Without a large tensor freed, memory would come page by page: see `queries.py`.
    torch.empty(31 * 2**20, dtype=torch.uint8)
    title = f"ms, {torch.get_num_threads()} threads"
    table = Table("images", "pass", "PyTorch", "fast", "ratio", title=title)
    for (channels, pixels), batch in CASES.items():
        torch.manual_seed(0)
        images = f"{batch} of {channels} x {pixels} x {pixels}"
        for name, work in passes(channels, pixels, batch).items():
            plain, fast, ratio = compare(*work, args.rounds)
            table.add_row(images, name, f"{plain:.2f}", f"{fast:.2f}", f"{ratio:.2f}")
            images = ""
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
