"""What the framework costs: `gan-gradflow train` beside a loop written by hand.

Both do the same work on the same networks, data and batch: the scheme of PyTorch's DCGAN
example (fakes detached in the discriminator's step), tuned: data in memory as one tensor,
the discriminator frozen in the generator's step, fused Adam, channels last; with the same
penalty and the same weight averaging. The framework's side is everything the command does
between one iteration and the next, with its logging, grids and progress, without what
measures (quality and the best checkpoint, the collapse alarm, the gradient-flow monitor),
which the loop does not have either.

The two take turns within one run, a few iterations each, so both see the same machine:

    python benchmarks/handwritten.py
    python benchmarks/handwritten.py --rounds 12 --turn 2 data.event_shape=[1,64,64] \\
        data.batch_size=16

The first at 28 pixels, the second on random images of 64. Seconds of the processor and
seconds on the clock; of the ratios the median and the quartiles over the rounds. With
`--lean` the loop by hand has a trick of ours: the backward of the discriminator's loss
does not go to the reals, which ask for a gradient for the penalty's sake alone.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator

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
from gan_gradflow.datamodules.base import DataSet, TensorDataModule


class RandomImages(TensorDataModule):
    """Noise of any size: what is in an image does not matter for its time."""

    def load(self) -> DataSet:
        images = torch.randint(256, (1024, *self.event_shape), dtype=torch.uint8)
        return DataSet(images, None, images[:64], None)


class Turns(L.Callback):
    """Every `turn` iterations of the framework, as many of the other loop, both timed.

    Attributes:
        ours: seconds of the processor and on the clock for each of our turns.
        theirs: the same for the other loop's.
    """

    def __init__(self, other: Iterator[None], turn: int) -> None:
        self.other = other
        self.turn = turn
        self.ours: list[tuple[float, float]] = []
        self.theirs: list[tuple[float, float]] = []

    def on_train_start(self, _, pl_module) -> None:
        self.synchronize = getattr(
            torch.get_device_module(pl_module.device), "synchronize", lambda: None
        )
        self._since = now()

    def on_train_batch_end(self, trainer, *_) -> None:
        if trainer.global_step % self.turn:
            return
        self.ours.append(self._taken())
        for _ in range(self.turn):
            next(self.other)
        self.theirs.append(self._taken())

    def _taken(self) -> tuple[float, float]:
        self.synchronize()
        before, self._since = self._since, now()
        return self._since[0] - before[0], self._since[1] - before[1]


def now() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def configuration(folder: str, iterations: int, overrides: list[str]) -> dict:
    """The main job's configuration, without what the other loop does not do."""
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose(
            "train",
            [
                f"max_iterations={iterations}",
                "metrics=none",
                "callbacks.best_checkpoint=null",
                "callbacks.collapse_alarm=null",
                "callbacks.gradient_flow=null",
                f"run_dir={folder}",
                *overrides,
            ],
            return_hydra_config=True,
        )
        HydraConfig.instance().set_config(cfg)
    OmegaConf.set_struct(cfg, False)
    cfg.pop("hydra")
    return OmegaConf.to_container(cfg, resolve=True)


def by_hand(
    config: dict, datamodule: TensorDataModule, device: str, lean: bool
) -> Iterator[None]:
    module = build.build_module(config).to(device)  # for the networks alone
    generator, discriminator = module.generator.network, module.discriminator.network
    gamma = config["penalty"].get("gamma")
    (generator_adam, discriminator_adam), _ = module.configure_optimizers()
    parameters = list(generator.parameters())
    averaged = [p.detach().clone() for p in parameters]
    data, batch = datamodule.train_reals.to(device), config["data"]["batch_size"]
    order, start = torch.randperm(len(data), device=device), 0
    while True:
        reals = data[order[start : start + batch]] / 127.5 - 1
        start = (start + batch) % (len(data) - batch)
        with torch.no_grad():
            fakes = generator(torch.randn(batch, generator.latent_dim, device=device))
        reals.requires_grad_(gamma is not None)
        real_scores, fake_scores = discriminator(reals), discriminator(fakes)
        loss = (softplus(-real_scores) + softplus(fake_scores)).mean()
        if gamma is not None:
            (slope,) = torch.autograd.grad(real_scores.sum(), reals, create_graph=True)
            loss = loss + gamma / 2 * slope.flatten(1).square().sum(1).mean()
        discriminator_adam.zero_grad()
        loss.backward(inputs=list(discriminator.parameters()) if lean else None)
        discriminator_adam.step()
        discriminator.requires_grad_(False)
        fakes = generator(torch.randn(batch, generator.latent_dim, device=device))
        loss = softplus(-discriminator(fakes)).mean()
        generator_adam.zero_grad()
        loss.backward()
        generator_adam.step()
        discriminator.requires_grad_(True)
        with torch.no_grad():
            torch._foreach_lerp_(averaged, parameters, 0.005)
        yield


def compare(
    overrides: list[str], rounds: int, turn: int, device: str, lean: bool = False
) -> Turns:
    """Both loops in turns."""
    with tempfile.TemporaryDirectory() as folder:
        accelerator = f"trainer.accelerator={'gpu' if device == 'cuda' else device}"
        config = configuration(folder, rounds * turn, [accelerator, *overrides])
        L.seed_everything(config["seed"], verbose=False)
        data = config["data"]
        if data["event_shape"] != [1, 28, 28]:
            data = {k: v for k, v in data.items() if k not in ("_target_", "root")}
            datamodule: TensorDataModule = RandomImages(**data)
        else:
            datamodule = build.build_datamodule(config)
        turns = Turns(by_hand(config, datamodule, device, lean), turn)
        module = build.build_module(config)
        callbacks = [*build.build_callbacks(config, datamodule, module), turns]
        trainer = build.build_trainer(config, callbacks)
        trainer.fit(module, datamodule=datamodule)
    return turns


def table(turns: Turns, turn: int, skip: int) -> Table:
    """Milliseconds for an iteration, and the ratio, without the first `skip` rounds."""
    result = Table(title=f"ms per iteration, {torch.get_num_threads()} threads")
    for column in ("", "by hand", "gan-gradflow", "ratio", "quartiles"):
        result.add_column(column)
    for index, name in enumerate(("processor", "clock")):
        ours = [1e3 * pair[index] / turn for pair in turns.ours[skip:]]
        theirs = [1e3 * pair[index] / turn for pair in turns.theirs[skip:]]
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        low, middle, high = statistics.quantiles(ratios)
        figures = f"{statistics.median(theirs):.1f}", f"{statistics.median(ours):.1f}"
        result.add_row(name, *figures, f"{middle:.3f}", f"{low:.3f} .. {high:.3f}")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--turn", type=int, default=5, help="iterations at a time")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--lean", action="store_true", help="by hand with our trick")
    parser.add_argument("overrides", nargs="*", help="for the main job's configuration")
    args = parser.parse_args()
    quiet_libraries()
    turns = compare(args.overrides, args.rounds, args.turn, args.device, args.lean)
    Console().print(table(turns, args.turn, skip=2))


if __name__ == "__main__":
    main()
