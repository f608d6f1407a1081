"""Our estimators beside those of other public libraries, on gradients known exactly.

    python benchmarks/estimators.py --plot estimators.png

Every estimator gets the scores of one function, about eight queries a gradient, and the
same step or width. Of `--draws` gradients g^ (g is the truth, <.> the mean over draws):

    scale      <g^ . g> / |g|^2, with its standard error: 1 if right to the constant
    cosine     <cos(g^, g)> of one draw
    variance   <|g^ - <g^>|^2> / |g|^2
    bias       |<g^> - g| / |g|, and behind it what chance alone would make of it
    queries    counted, for one gradient
    queries/s  on one thread; ours are asked in batches of 64 gradients, as in training,
               and the other libraries take one point at a time

Each library runs in a process of its own, for some change torch for everybody. A library
that is missing or does not import is named below the table; `pip install -e
'.[benchmarks]'` brings those that install together.
"""

import argparse
import importlib.metadata
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Independent

STEP, PAIRS, BATCH = 0.02, 4, 64
ENOUGH = 10.0  # seconds for a row; a slow library gets fewer draws, and a larger error
LIBRARIES = {  # ours first; the name on the package index, then the module
    "gan-gradflow": "gan_gradflow",
    "torchopt": "torchopt",
    "torchzero": "torchzero",
    "evotorch": "evotorch",
    "pennylane": "pennylane",
    "foolbox": "foolbox",
    "advertorch": "advertorch.attacks",
    "storchastic": "storch",
}
Gradients = Iterator[Tensor]


class Counted:
    """A loss of samples `[n, dim]` that counts them and keeps its graph to itself."""

    def __init__(self, loss: Callable[[Tensor], Tensor]) -> None:
        self.loss = loss
        self.queries = 0

    def __call__(self, samples: Tensor) -> Tensor:
        self.queries += len(samples)
        with torch.no_grad():
            return self.loss(samples.detach())

    def one(self, sample: Tensor) -> Tensor:
        return self(sample.unsqueeze(0))[0]


@dataclass
class Problem:
    """A loss, where to differentiate it, and its gradient there."""

    name: str
    loss: Callable[[Tensor], Tensor]
    at: Tensor
    truth: Tensor


def problems() -> list[Problem]:
    return [_quadratic(), _network(), _discrete()]


def _quadratic(dim: int = 50) -> Problem:
    """f(x) = sum_i i x_i^2 / 2 d + x_i, in 50 dimensions."""
    curvature = torch.arange(1.0, dim + 1) / dim

    def loss(x: Tensor) -> Tensor:
        return (curvature * x**2 / 2 + x).sum(-1)

    at = torch.linspace(-1, 1, dim)
    return Problem("quadratic", loss, at, curvature * at + 1)


def _network(dim: int = 64, width: int = 64) -> Problem:
    """A critic of two hidden layers at initialisation, in 64 dimensions."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(dim, width), (width, width), (width, 1)]
    weights = [torch.randn(*s, generator=generator) * 1.5 / s[0] ** 0.5 for s in sizes]

    def loss(x: Tensor) -> Tensor:
        first, second, last = (w.to(x) for w in weights)
        hidden = torch.tanh(torch.tanh(x @ first) @ second)
        return torch.nn.functional.softplus(hidden @ last).squeeze(-1)

    at = torch.randn(dim, generator=generator)
    exact = torch.func.grad(loss)(at.double())
    return Problem("network", loss, at, exact.float())


def _discrete(dim: int = 10) -> Problem:
    """E (w . b - 1)^2 for bits b ~ Bernoulli(sigmoid(logits)): all 2^10 enumerated."""
    weight = torch.linspace(-0.5, 1, dim)

    def loss(bits: Tensor) -> Tensor:
        return (bits @ weight.to(bits) - 1) ** 2

    def expected(logits: Tensor) -> Tensor:
        every = torch.tensor(list(itertools.product((0.0, 1.0), repeat=dim))).double()
        probability = Bernoulli(logits=logits).log_prob(every).sum(1).exp()
        return (probability * loss(every)).sum()

    at = torch.linspace(-1.5, 1, dim)
    exact = torch.func.grad(expected)(at.double())
    return Problem("discrete", loss, at, exact.float())


# Estimators: from a counted loss and a point to any number of gradients `[n, dim]`


def _ours(problem: Problem) -> dict[str, Callable[[Counted, Tensor], Gradients]]:
    from hydra import compose, initialize_config_dir
    from hydra.utils import instantiate

    from gan_gradflow.cli import CONFIG_DIR
    from gan_gradflow.critic import Critic
    from gan_gradflow.types import Access

    def gradients(*overrides: str):
        with initialize_config_dir(config_dir=str(CONFIG_DIR), version_base="1.3"):
            bridge = instantiate(compose(overrides=list(overrides)).bridge)

        def draw(loss: Counted, at: Tensor) -> Gradients:
            critic = Critic(loss, access=Access.SCORES)
            while True:
                leaf = at.expand(BATCH, -1).clone().requires_grad_()
                emission = leaf
                if problem.name == "discrete":
                    emission = Independent(Bernoulli(logits=leaf), 1)
                bridge(critic, emission).sum().backward()
                yield leaf.grad

        return draw

    num_draws = 2 * PAIRS
    score = ("+bridge=score_function", f"bridge.num_draws={num_draws}")
    if problem.name == "discrete":
        score += ("bridge/draws=independent",)
        return {
            "score_function, leave-one-out": gradients(*score),
            "score_function, no baseline": gradients(*score, "bridge/baseline=none"),
        }
    step, number = f"bridge.step={STEP}", "bridge.directions.num_directions"
    difference = ("+bridge=finite_difference", "bridge.central=true", step)
    return {
        "finite_difference": gradients(*difference, f"{number}={PAIRS}"),
        "finite_difference, forward": gradients(
            *difference, f"{number}={num_draws - 1}", "bridge.central=false"
        ),
        "finite_difference, orthonormal": gradients(
            *difference, "bridge/directions=orthonormal", f"{number}={PAIRS}"
        ),
        "spsa": gradients("+bridge=spsa", step, f"{number}={PAIRS}"),
        "adaptive_difference": gradients(
            "+bridge=adaptive_difference", step, f"{number}={PAIRS}"
        ),
        "score_function": gradients(*score, f"bridge.sigma={STEP}"),
        "score_function, antithetic": gradients(
            *score, "bridge/draws=antithetic", f"bridge.sigma={STEP}"
        ),
    }


def _torchopt(problem: Problem) -> dict[str, Callable[[Counted, Tensor], Gradients]]:
    from torchopt.diff.zero_order import zero_order

    def gradients(method: str, num_samples: int):
        def draw(loss: Counted, at: Tensor) -> Gradients:
            function = zero_order(torch.randn, method, 0, num_samples, STEP)(loss.one)
            while True:
                leaf = at.clone().requires_grad_()
                (gradient,) = torch.autograd.grad(function(leaf), leaf)
                yield gradient.unsqueeze(0)

        return draw

    if problem.name == "discrete":
        return {}
    return {
        "zero_order antithetic": gradients("antithetic", PAIRS),
        "zero_order forward": gradients("forward", 2 * PAIRS - 1),
        "zero_order naive": gradients("naive", 2 * PAIRS - 1),
    }


def _torchzero(problem: Problem) -> dict[str, Callable[[Counted, Tensor], Gradients]]:
    import torchzero as tz

    def gradients(module, **options):
        def draw(loss: Counted, at: Tensor) -> Gradients:
            point = torch.nn.Parameter(at.clone())
            optimizer = tz.Optimizer([point], module(**options), tz.m.LR(1.0))

            def closure(backward: bool = True) -> Tensor:  # noqa: ARG001
                return loss.one(point)

            while True:
                with torch.no_grad():
                    point.copy_(at)
                optimizer.step(closure)
                yield (at - point.detach()).unsqueeze(0)

        return draw

    if problem.name == "discrete":
        return {}
    return {
        "SPSA": gradients(tz.m.SPSA, h=STEP, n_samples=PAIRS),
        "RDSA": gradients(tz.m.RDSA, h=STEP, n_samples=PAIRS),
        "SPSA1": gradients(tz.m.SPSA1, h=STEP, n_samples=2 * PAIRS),
    }


def _evotorch(problem: Problem) -> dict[str, Callable[[Counted, Tensor], Gradients]]:
    from evotorch.distributions import SymmetricSeparableGaussian

    def gradients(divide_by: str | None):
        def draw(loss: Counted, at: Tensor) -> Gradients:
            parameters = {"mu": at, "sigma": torch.full_like(at, STEP)}
            if divide_by is not None:
                parameters["divide_mu_grad_by"] = divide_by
            search = SymmetricSeparableGaussian(parameters)
            while True:
                samples = search.sample(2 * PAIRS)
                # Its gradients point towards better samples.
                found = search.compute_gradients(
                    samples, loss(samples), objective_sense="max"
                )
                yield found["mu"].unsqueeze(0)

        return draw

    if problem.name == "discrete":
        return {}
    return {
        "SymmetricSeparableGaussian": gradients(None),
        "SymmetricSeparableGaussian, by num_directions": gradients("num_directions"),
    }


def _pennylane(problem: Problem) -> dict[str, Callable[[Counted, Tensor], Gradients]]:
    import pennylane

    def draw(loss: Counted, at: Tensor) -> Gradients:
        optimizer = pennylane.SPSAOptimizer(maxiter=100, c=STEP)
        point = pennylane.numpy.array(at.numpy(), requires_grad=True)

        def objective(array):
            scored = loss.one(torch.as_tensor(array.unwrap(), dtype=at.dtype))
            return scored.double().numpy()

        while True:
            draws = [
                torch.as_tensor(optimizer.compute_grad(objective, (point,), {})[0])
                for _ in range(PAIRS)
            ]
            yield torch.stack(draws).mean(0, keepdim=True).to(at)

    return {} if problem.name == "discrete" else {"SPSAOptimizer, mean of 4": draw}


def _foolbox(problem: Problem) -> dict[str, Callable[[Counted, Tensor], Gradients]]:
    import eagerpy
    from foolbox.attacks import LinfProjectedGradientDescentAttack as Attack
    from foolbox.gradient_estimators import es_gradient_estimator

    def draw(loss: Counted, at: Tensor) -> Gradients:
        options = {
            "samples": 2 * PAIRS,
            "sigma": STEP,
            "bounds": (-9, 9),
            "clip": False,
        }
        attack = es_gradient_estimator(Attack, **options)()
        point = eagerpy.astensor(at)

        def objective(x):
            return eagerpy.astensor(loss.one(x.raw))

        while True:
            yield attack.value_and_grad(objective, point)[1].raw.unsqueeze(0)

    return {} if problem.name == "discrete" else {"es_gradient_estimator": draw}


def _storchastic(problem: Problem) -> dict[str, Callable[[Counted, Tensor], Gradients]]:
    import storch
    from storch.method import ARM, ScoreFunction

    def gradients(method, **options):
        def draw(loss: Counted, at: Tensor) -> Gradients:
            estimator = method("bits", **options)

            def cost(bits: Tensor) -> Tensor:
                return loss(bits.reshape(-1, bits.shape[-1])).view(bits.shape[:-1])

            while True:
                storch.reset()
                leaf = at.clone().requires_grad_()
                bits = estimator(Bernoulli(logits=leaf))
                storch.add_cost(storch.deterministic(cost)(bits), "cost")
                storch.backward()
                yield leaf.grad.unsqueeze(0)

        return draw

    if problem.name != "discrete":
        return {}
    average = {"n_samples": 2 * PAIRS, "baseline_factory": "batch_average"}
    return {
        "ScoreFunction, batch average": gradients(ScoreFunction, **average),
        "ScoreFunction, no baseline": gradients(ScoreFunction, n_samples=2 * PAIRS),
        "ARM": gradients(ARM, n_samples=PAIRS),
    }


def _none(problem: Problem) -> dict[str, Callable[[Counted, Tensor], Gradients]]:  # noqa: ARG001
    return {}


ESTIMATORS = dict(
    zip(
        LIBRARIES,
        (
            _ours,
            _torchopt,
            _torchzero,
            _evotorch,
            _pennylane,
            _foolbox,
            _none,
            _storchastic,
        ),
        strict=True,
    )
)

# Measuring


@dataclass
class Figures:
    """What a row of the table holds."""

    problem: str
    library: str
    estimator: str
    scale: float
    scale_error: float
    cosine: float
    variance: float
    bias: float
    chance: float
    queries: float
    queries_per_second: float
    failure: str = ""


def measure(
    problem: Problem, draw: Callable[[Counted, Tensor], Gradients], num_draws: int
) -> dict[str, float]:
    loss = Counted(problem.loss)
    source = draw(loss, problem.at)
    next(source)  # a first call may import and compile
    loss.queries, start, drawn, count = 0, time.perf_counter(), [], 0
    while count < num_draws and time.perf_counter() < start + ENOUGH:
        drawn.append(next(source).detach())
        count += len(drawn[-1])
    seconds = time.perf_counter() - start
    found, truth = torch.cat(drawn).double(), problem.truth.double()
    square = truth.dot(truth)
    scales = found @ truth / square
    variance = float(found.var(0).sum() / square)
    return {
        "scale": float(scales.mean()),
        "scale_error": float(scales.std() / count**0.5),
        "cosine": float(torch.cosine_similarity(found, truth.expand_as(found)).mean()),
        "variance": variance,
        "bias": float((found.mean(0) - truth).norm() / truth.norm()),
        "chance": (variance / count) ** 0.5,
        "queries": loss.queries / count,
        "queries_per_second": loss.queries / seconds,
    }


def one_library(library: str, seed: int, num_draws: int) -> list[dict]:
    """Every row of one library; an estimator that fails is a row that says so."""
    torch.set_num_threads(1)
    __import__(LIBRARIES[library])
    rows = []
    for problem in problems():
        for name, draw in ESTIMATORS[library](problem).items():
            torch.manual_seed(seed)
            nothing = [float("nan")] * 8
            figures = Figures(problem.name, library, name, *nothing)
            try:
                for key, value in measure(problem, draw, num_draws).items():
                    setattr(figures, key, value)
            except Exception as error:  # another library's: it is a result too
                figures.failure = f"{type(error).__name__}: {error}"[:80]
            rows.append(asdict(figures))
    return rows


def in_a_process(library: str, seed: int, num_draws: int) -> list[Figures] | str:
    """The rows of a library, or why there are none."""
    command = [sys.executable, __file__, "--library", library]
    command += ["--seed", str(seed), "--draws", str(num_draws)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    return [Figures(**row) for row in json.loads(done.stdout.splitlines()[-1])]


# Printing


def table(rows: list[Figures]) -> str:
    columns = ("library", "estimator", "scale", "cosine", "variance", "bias (chance)")
    columns += ("queries", "queries/s")
    head, lines = f"| {' | '.join(columns)} |", []
    for problem in dict.fromkeys(row.problem for row in rows):
        lines += [f"\n**{problem}**\n", head, "|---" * 8 + "|"]
        lines += [_line(row) for row in rows if row.problem == problem]
    return "\n".join(lines).strip()


def _line(row: Figures) -> str:
    if row.failure:
        return f"| {row.library} | {row.estimator} | fails: {row.failure} | | | | | |"
    return (
        f"| {row.library} | {row.estimator} | {row.scale:.4g} ± {row.scale_error:.1g} | "
        f"{row.cosine:.3f} | {row.variance:.3g} | {row.bias:.3g} ({row.chance:.2g}) | "
        f"{row.queries:g} | {row.queries_per_second:,.0f} |"
    )


def versions(libraries: list[str]) -> str:
    return ", ".join(f"{one} {importlib.metadata.version(one)}" for one in libraries)


def plot(rows: list[Figures], path: Path) -> None:
    """Scale and cosine of every estimator, one mark for each problem."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(f"{row.library}: {row.estimator}" for row in rows))
    figure, axes = plt.subplots(
        1, 2, sharey=True, figsize=(11, 0.35 * len(names) + 1.5)
    )
    for problem, mark in zip(("quadratic", "network", "discrete"), "osD", strict=True):
        of = [row for row in rows if row.problem == problem and not row.failure]
        heights = [names.index(f"{row.library}: {row.estimator}") for row in of]
        axes[0].plot([row.scale for row in of], heights, mark, label=problem, alpha=0.7)
        axes[1].plot([row.cosine for row in of], heights, mark, alpha=0.7)
    axes[0].set_xscale("symlog", linthresh=1e-4)
    axes[0].axvline(1, color="grey", linewidth=1)
    axes[0].set_xlabel("scale (1 is right)")
    axes[1].set_xlabel("cosine with the gradient, one draw")
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=2048, help="gradients per row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=Path, help="a PNG to write")
    parser.add_argument("--library", choices=LIBRARIES, help="run one, and print JSON")
    arguments = parser.parse_args()
    if arguments.library:
        print(
            json.dumps(one_library(arguments.library, arguments.seed, arguments.draws))
        )
        return
    rows, missing, ran = [], [], []
    for library in LIBRARIES:
        found = in_a_process(library, arguments.seed, arguments.draws)
        if isinstance(found, str):
            missing.append(f"{library}: {found}")
        else:
            rows += found
            ran.append(library)
    print(table(rows))
    print(
        f"\nSeed {arguments.seed}, {arguments.draws} draws; {versions(['torch', *ran])}."
    )
    for one in missing:
        print(f"Left out, for it does not import: {one}")
    if arguments.plot:
        plot(rows, arguments.plot)


if __name__ == "__main__":
    main()
