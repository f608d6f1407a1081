"""Maximum likelihood beside the game: before it, to start from; during it, to watch.

For generators that emit a distribution with a log-probability, the negative log-likelihood
of reals, -log p(x), is a loss for pre-training, and tells of held-out reals whether the
generator still covers them.
"""

import logging
import time
from collections.abc import Iterator
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.distributions import Distribution

from gan_gradflow.callbacks.graceful_stop import GracefulStop
from gan_gradflow.modules.checkpoint import read_checkpoint
from gan_gradflow.modules.generator import GeneratorModule

log = logging.getLogger(__name__)

_ASK_EVERY = 10  # iterations, whether the run is to end
_SAVE_EVERY = 500  # iterations
_TELL_EVERY = 10.0  # seconds


class Likelihood(L.Callback):
    """Pre-trains the generator by maximum likelihood, and logs that of held-out reals.

    Pre-training is saved as it goes, ends when the run is asked to, and goes on with it.

    Args:
        iterations: updates before the game, each on one batch; 0 for none.
        batch_size: reals in such a batch.
        lr: learning rate of Adam in pre-training.
        every_n_iterations: how often the likelihood of held-out reals is logged.
        seed: what the batches follow from.
        start: a checkpoint from whose generator pre-training starts, or with no
            iterations the game: several games can begin from one pre-training. None for
            weights drawn anew.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(
        self,
        iterations: int,
        batch_size: int,
        lr: float,
        every_n_iterations: int,
        seed: int,
        start: str | None,
    ) -> None:
        if iterations < 0 or batch_size < 1 or every_n_iterations < 1 or not lr > 0:
            raise ValueError(
                f"iterations {iterations}, batch_size {batch_size}, lr {lr} and "
                f"every_n_iterations {every_n_iterations} must be positive; "
                "iterations may be 0"
            )
        self.iterations = iterations
        self.batch_size = batch_size
        self.lr = lr
        self.every_n_iterations = every_n_iterations
        self.seed = seed
        self.start = start
        self._weights: dict[str, Tensor] | None = None
        self._done = 0  # iterations of pre-training
        self._optimizer: torch.optim.Optimizer | None = None
        self._optimizer_state: dict[str, Any] | None = None

    def check(self, generator: GeneratorModule) -> None:
        """Read the checkpoint to start from, before anything runs.

        Raises:
            ValueError: it cannot be read, or its generator is another than this one.
        """
        if self.start is None:
            return
        self._weights = _network_of(self.start)
        wanted = {k: list(v.shape) for k, v in generator.network.state_dict().items()}
        found = {k: list(v.shape) for k, v in self._weights.items()}
        if found != wanted:
            name = min(k for k in {**found, **wanted} if found.get(k) != wanted.get(k))
            raise ValueError(
                f"the generator of {self.start} is another than this run's: its "
                f"{name} is {found.get(name)}, and here {wanted.get(name)}"
            )

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Pre-train, unless the run goes on from a checkpoint of the game."""
        # Not when the fit starts: the iteration of a checkpoint is not known yet.
        if trainer.global_step > 0:
            return
        if self._done == 0:
            self._begin(pl_module.generator)
        self._pretrain(trainer, pl_module)
        if not trainer.should_stop:
            nll = self._measure(trainer, pl_module)
            log.info("held-out nll of an element before the game: %.4f", nll)

    def on_train_batch_end(self, trainer, pl_module, *_) -> None:  # type: ignore[no-untyped-def]
        """Log the likelihood, if it is time to."""
        last = trainer.global_step == trainer.max_steps
        if last or trainer.global_step % self.every_n_iterations == 0:
            self._measure(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """How far pre-training has come, with its optimizer while it lasts."""
        under_way = 0 < self._done < self.iterations and self._optimizer is not None
        optimizer = self._optimizer.state_dict() if under_way else None  # type: ignore[union-attr]
        return {"pretrained_iterations": self._done, "optimizer": optimizer}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint left off."""
        self._done = state_dict["pretrained_iterations"]
        self._optimizer_state = state_dict["optimizer"]

    def _begin(self, generator: GeneratorModule) -> None:
        if self._weights is None:
            self.check(generator)
        if self._weights is not None:
            generator.network.load_state_dict(self._weights)
            _copy_to_average(generator)

    def _pretrain(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        generator = pl_module.generator
        self._optimizer = torch.optim.Adam(generator.network.parameters(), self.lr)
        if self._optimizer_state is not None:
            self._optimizer.load_state_dict(self._optimizer_state)
        stop = next((c for c in trainer.callbacks if isinstance(c, GracefulStop)), None)
        told, first = time.monotonic(), self._done
        started = told
        for reals in self._batches(trainer.datamodule.train_reals):
            loss = _nll(pl_module, reals.to(pl_module.device)).mean()
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            self._done += 1
            if time.monotonic() - told > _TELL_EVERY:
                told = time.monotonic()
                rate = (self._done - first) / (told - started)
                log.info(
                    "pre-training: iteration %d of %d  %.1f it/s  nll %.4f  %d s left",
                    self._done,
                    self.iterations,
                    rate,
                    loss.item() / reals[0].numel(),
                    (self.iterations - self._done) / rate,
                )
            if stop and self._done % _ASK_EVERY == 0 and stop.asked(trainer, pl_module):
                break
            if stop and self._done % _SAVE_EVERY == 0:
                _copy_to_average(generator)
                stop.save(trainer)
        if self.iterations:
            _copy_to_average(generator)

    def _batches(self, reals: Tensor) -> Iterator[Tensor]:
        """Those of the iterations that are left: each has its own, whenever it comes."""
        random = torch.Generator().manual_seed(self.seed)
        for iteration in range(self.iterations):
            rows = torch.randint(len(reals), (self.batch_size,), generator=random)
            if iteration >= self._done:
                yield reals[rows]

    def _measure(self, trainer: L.Trainer, pl_module: L.LightningModule) -> float:
        """Log and return what held-out reals cost: nats of an element."""
        reals = trainer.datamodule.held_out
        with torch.no_grad():
            chunks = [chunk.to(pl_module.device) for chunk in reals.split(500)]
            losses = torch.cat([_nll(pl_module, chunk) for chunk in chunks])
        nll = losses.mean().item() / reals[0].numel()
        for logger in trainer.loggers:
            logger.log_metrics({"quality/reals_nll": nll}, trainer.global_step)
        return nll


def _copy_to_average(generator: GeneratorModule) -> None:
    generator.averaged.module.load_state_dict(generator.network.state_dict())


def _network_of(checkpoint: str) -> dict[str, Tensor]:
    """The raw weights of a checkpoint's generator."""
    prefix = "generator.network."
    weights = read_checkpoint(checkpoint)["state_dict"]
    return {
        k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)
    }


def _nll(pl_module: L.LightningModule, reals: Tensor) -> Tensor:
    latents = torch.zeros(
        len(reals), pl_module.generator.latent_dim, device=reals.device
    )
    emission = pl_module.generator(latents)
    if not isinstance(emission, Distribution):
        raise ValueError(
            "callbacks.likelihood needs a generator that emits a distribution, and this "
            f"one emits {type(emission).__name__}; use callbacks.likelihood=null"
        )
    return -emission.log_prob(reals)
