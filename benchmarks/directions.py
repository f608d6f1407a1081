"""What are directions for samples in a range worth to the generator's parameters?

    gan-gradflow train max_iterations=600 bridge=finite_difference run_name=RUN
    python benchmarks/directions.py outputs/RUN/checkpoints/last.ckpt

Asks the checkpoint's discriminator along directions of each family at the checkpoint's
fakes, a batch of 64, and prints the mean cosine with the exact gradient of the pull of a
sample and of the generator's parameter gradient, with its standard error.
"""

import sys

import torch
from rich.console import Console
from rich.table import Table

from gan_gradflow.bridges.directions import Directions, GaussianDirections
from gan_gradflow.bridges.finite_difference import FiniteDifferenceBridge
from gan_gradflow.bridges.range_directions import RangeDirections
from gan_gradflow.cli.build import build_module
from gan_gradflow.metrics.gradient_fidelity import measure_fidelity
from gan_gradflow.metrics.gradient_reference import reference_pull
from gan_gradflow.modules.adversarial import AdversarialModule
from gan_gradflow.modules.checkpoint import read_checkpoint
from gan_gradflow.types import Access

BATCH, DRAWS = 64, 24
COUNTS = [7, 14, 63]


def players_of(checkpoint: str) -> AdversarialModule:
    """The two players as the checkpoint left them; the critic grants its gradient."""
    stored = read_checkpoint(checkpoint)
    module = build_module(stored["hyper_parameters"]["config"])
    module.load_state_dict(stored["state_dict"])
    module.critic.access = Access.GRADIENT
    return module


def families(count: int) -> dict[str, Directions]:
    """The families compared, of so many directions."""
    return {
        "gaussian": GaussianDirections(count),
        "range": RangeDirections(count, -1.0, 1.0, 0.2),
    }


def main(checkpoint: str) -> None:
    """Measure and print."""
    torch.manual_seed(1)
    module = players_of(checkpoint)
    emission = module.generator(torch.randn(BATCH, module.generator.latent_dim))
    reference = reference_pull(module.critic, emission)
    table = Table("directions", "queries", "cosine of the pull", "of the parameters")
    for count in COUNTS:
        for name, directions in families(count).items():
            found = measure_fidelity(
                FiniteDifferenceBridge(directions, central=False, step=None),
                module.critic,
                emission,
                reference,
                DRAWS,
                parameters=list(module.generator.network.parameters()),
            )
            assert found.parameters is not None
            cosines = (found.pull.cosine, found.parameters.cosine)
            cells = [f"{c.value:.3f} ± {c.error:.3f}" for c in cosines]
            table.add_row(name, str(count + 1), *cells)
    Console().print(table)


if __name__ == "__main__":
    main(sys.argv[1])
