"""What one pass for both players saves, and the most that it can save.

    python benchmarks/one_stage.py

The phases of an iteration are timed one by one (forward, backward to the inputs, backward
to the inputs and the weights of each network, without a penalty), by PyTorch's convolutions
and by those of `fast_convolutions`. Their sum over what one pass does, over the sum of what
the loop by hand does with PyTorch's, gives the ratio that no implementation can beat.
Beside it the ratios that the whole command reaches, measured in turns: `exact_one_stage`
against the loop by hand of `handwritten.py`, and `exact` against the same loop.
"""

import argparse
import statistics
import time

import torch
from handwritten import compare, configuration, table
from rich.console import Console

from gan_gradflow.cli import build
from gan_gradflow.cli.console import quiet_libraries
from gan_gradflow.networks.convolution import fast_convolutions


def phases(overrides: list[str], device: str, rounds: int) -> dict[str, float]:
    """Milliseconds of the processor for each phase: the least of a few rounds."""
    config = configuration("unused", 1, ["penalty=none", *overrides])
    module = build.build_module(config).to(device)
    generator, discriminator = module.generator.network, module.discriminator.network
    batch = config["data"]["batch_size"]
    latents = torch.randn(batch, generator.latent_dim, device=device)
    samples = generator(latents).detach()
    weights, leaves = list(discriminator.parameters()), samples.clone()
    leaves.requires_grad_()
    times: dict[str, list[float]] = {}

    def clock(name: str, work, *arguments):
        start = time.process_time() if device == "cpu" else time.perf_counter()
        result = work(*arguments)
        if device != "cpu":
            torch.cuda.synchronize()
        end = time.process_time() if device == "cpu" else time.perf_counter()
        times.setdefault(name, []).append(1e3 * (end - start))
        return result

    backward = torch.autograd.grad
    for _ in range(rounds):
        with torch.no_grad():
            clock("generator, forward", generator, latents)
        fakes = clock("generator, forward with graph", generator, latents).sum()
        clock("generator, backward", torch.autograd.backward, fakes)
        scores = clock("discriminator, forward", discriminator, samples).sum()
        clock("discriminator, backward to weights", backward, scores, weights)
        discriminator.requires_grad_(False)
        scores = clock("discriminator, forward frozen", discriminator, leaves).sum()
        clock("discriminator, backward to inputs", backward, scores, leaves)
        discriminator.requires_grad_(True)
        scores, both = discriminator(leaves).sum(), [leaves, *weights]
        clock("discriminator, backward to both", backward, scores, both)
    return {name: min(spent) for name, spent in times.items()}


def one_pass(spent: dict[str, float]) -> float:
    """Reals and fakes are scored once, and the fakes' pull comes with the weights'."""
    total = spent["generator, forward with graph"] + spent["generator, backward"]
    total += 2 * spent["discriminator, forward"]
    total += spent["discriminator, backward to weights"]
    return total + spent["discriminator, backward to both"]


def two_passes(spent: dict[str, float]) -> float:
    """Other fakes are scored by a frozen discriminator, for the generator alone."""
    total = spent["generator, forward"]
    total += 2 * spent["discriminator, forward"]
    total += 2 * spent["discriminator, backward to weights"]
    total += spent["generator, forward with graph"] + spent["generator, backward"]
    total += spent["discriminator, forward frozen"]
    return total + spent["discriminator, backward to inputs"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--turn", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("overrides", nargs="*", help="for the main job's configuration")
    args = parser.parse_args()
    quiet_libraries()
    console = Console()
    plain = phases(args.overrides, args.device, args.rounds)
    with fast_convolutions():
        fast = phases(args.overrides, args.device, args.rounds)
    for name, milliseconds in plain.items():
        console.print(f"{name:36} {milliseconds:6.2f} ms, fast {fast[name]:6.2f} ms")
    by_hand = two_passes(plain)
    console.print(f"the ratio of the phases: {one_pass(plain) / by_hand:.3f}")
    console.print(f"the same with fast convolutions: {one_pass(fast) / by_hand:.3f}")
    middles = {}
    for bridge in ("exact_one_stage", "exact"):
        overrides = ["penalty=none", f"bridge={bridge}", *args.overrides]
        turns = compare(overrides, args.rounds, args.turn, args.device)
        result = table(turns, args.turn, skip=2)
        result.title = f"{bridge}: {result.title}"
        console.print(result)
        pairs = zip(turns.ours[2:], turns.theirs[2:], strict=True)
        middles[bridge] = statistics.median(ours[0] / hand[0] for ours, hand in pairs)
    ratio = middles["exact_one_stage"] / middles["exact"]
    console.print(f"exact_one_stage against exact: {ratio:.3f}")


if __name__ == "__main__":
    main()
