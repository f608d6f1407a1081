"""Training: rounds, one after the other, as Lightning drives them.

What an iteration is stands in `round`. Here is what surrounds it: it is undone if it
fails half-way, its figures are logged, the learning rates follow, the budget ends the run,
and what a run needs to go on is in its checkpoints.
"""

import logging
import os
import time
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from gan_gradflow.bridges.base import GradientBridge
from gan_gradflow.channels.base import Channel
from gan_gradflow.critic import NonFiniteScoresError
from gan_gradflow.datamodules.base import Batch
from gan_gradflow.modules.checkpoint import FORMAT, sealed
from gan_gradflow.modules.chunk_size import SIZES, fastest_chunk_size
from gan_gradflow.modules.discriminator import DiscriminatorModule
from gan_gradflow.modules.freezing import frozen
from gan_gradflow.modules.generator import GeneratorModule
from gan_gradflow.modules.nonfinite import (
    NonFiniteError,
    first_nonfinite,
)
from gan_gradflow.modules.query_plan import QueryPlan
from gan_gradflow.modules.random_state import random_states, set_random_state
from gan_gradflow.modules.round import Round
from gan_gradflow.modules.snapshot import Snapshot
from gan_gradflow.processes import Processes
from gan_gradflow.types import Access

log = logging.getLogger(__name__)


class AdversarialModule(Round):
    """Trains a generator against a discriminator through a gradient bridge.

    `trainer.global_step` counts iterations.

    Args:
        generator, discriminator, n_critic, seed, access, budget: those of `Round`.
        chunk_size: the most samples that the critic scores at once; None for all, "auto"
            for the fastest of a few, measured before the first iteration.
        on_nonfinite: what a NaN or infinite loss, score or gradient does: stop the run,
            or skip the iteration. Either way everything is as before the iteration, but
            for the queries, which were asked.

    Raises:
        ValueError: `n_critic` below 1, or a bridge that cannot work with this critic.

    Attributes:
        skipped: the iterations that were skipped.
        is_whole: no iteration is half done: the state is worth saving.
        has_begun: everything is set up and restored, and training has begun.
    """

    def __init__(
        self,
        generator: GeneratorModule,
        discriminator: DiscriminatorModule,
        n_critic: int,
        seed: int,
        access: Access | None,
        budget: int | None,
        chunk_size: int | Literal["auto"] | None,
        on_nonfinite: Literal["stop", "skip"],
    ) -> None:
        size = None if chunk_size == "auto" else chunk_size
        super().__init__(generator, discriminator, n_critic, seed, access, budget, size)
        self.automatic_optimization = False
        self.on_nonfinite = on_nonfinite
        self.skipped = 0
        self.is_whole = True
        self.has_begun = False
        self._earlier_seconds = 0.0  # before the run went on
        self._started = time.monotonic()
        self.scalars = dict.fromkeys(
            ("loss/generator", "loss/discriminator"), torch.tensor(torch.nan)
        )
        self._random: dict[str, Any] | None = None  # of the checkpoint, until the start
        self._chunk_size_open = chunk_size == "auto"

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        """The generator's optimizer and schedule, then the discriminator's."""
        players = (self.generator, self.discriminator)
        optimizers, schedules = zip(
            *(player.configure_optimizers() for player in players), strict=True
        )
        return list(optimizers), list(schedules)

    def setup(self, stage: str) -> None:  # noqa: ARG002
        """Share the batch with the other processes."""
        self.processes = Processes(self.global_rank, self.trainer.world_size)
        self.critic.processes = self.processes
        self.discriminator.processes = self.processes
        self.discriminator.penalty.processes = self.processes
        self.query_plan.processes = self.processes
        self.bridge.share_with(self.processes)

    def on_fit_start(self) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long the run has taken, with what measures and with what it went on from."""
        return self._earlier_seconds + time.monotonic() - self._started

    def training_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """One iteration, or none of it."""
        for_generator, for_discriminator = self._optimizers()
        if self._chunk_size_open:
            self._choose_chunk_size(batch)
        iteration = self.global_step
        self._before.take()
        self.is_whole = False
        try:
            self.scalars = self.play(batch, for_generator, for_discriminator)
        except BaseException as error:
            explained = self._undo(error, iteration)
            if explained is None:
                raise
            if self.on_nonfinite == "stop":
                raise explained from error
            self._skip(explained, for_generator)
        self._follow_schedules()
        self.is_whole = True
        if self.global_step % self.trainer.log_every_n_steps == 0:
            self._log()

    def _follow_schedules(self) -> None:
        for name, schedule in zip(
            ("generator", "discriminator"), self.lr_schedulers(), strict=True
        ):
            rate = torch.tensor(schedule.get_last_lr()[0])
            self.scalars[f"learning_rate/{name}"] = rate
            schedule.step()  # Lightning leaves this to us, too

    def _log(self) -> None:
        self.scalars = self.processes.mean_of_each(self.scalars, self.device)
        self.log_dict(self.scalars)
        self.log("critic/queries", float(self.critic.queries))
        self.log("nonfinite/skipped_iterations", float(self.skipped))
        parts: dict[str, GradientBridge | Channel | QueryPlan] = {
            "bridge": self.bridge,
            "channel": self.channel,
            "queries": self.query_plan,
        }
        for kind, part in parts.items():
            for name, figure in part.figures().items():
                self.log(f"{kind}/{name}", figure)
        self.log("step", float(self.global_step))  # the x-axis

    def _undo(self, error: BaseException, iteration: int) -> NonFiniteError | None:
        """Everything as before the iteration; what was not finite, if that is the error.

        The generator steps when nothing can fail any more, so its weights need no copy.
        """
        explained = None
        # A critic may fail one process alone; losses and gradients fail all or none.
        alone = isinstance(error, NonFiniteScoresError) and self.processes.size == 1
        if alone or isinstance(error, NonFiniteError):
            place = first_nonfinite(self.named_parameters())
            where = f"{place} is not finite in" if place else "in"
            explained = NonFiniteError(f"{error}; {where} iteration {iteration + 1}")
        self._before.restore()
        self.is_whole = self.global_step == iteration
        return explained

    def _skip(self, error: NonFiniteError, for_generator: Optimizer) -> None:
        """Count an iteration that changed nothing."""
        self.skipped += 1
        log.warning("skipped: %s (skipped so far: %d)", error, self.skipped)
        for_generator._on_before_step()  # type: ignore[attr-defined]
        for_generator._on_after_step()  # type: ignore[attr-defined]

    @property
    def budget_is_spent(self) -> bool:
        """Whether the critic's budget does not cover another iteration."""
        samples, dim = self._asked
        needed = samples * self.query_plan.queries_per_sample(self.bridge, dim)
        needed *= self.processes.size
        budget = self.critic.budget
        return budget is not None and self.critic.queries + needed > budget

    def on_train_batch_end(self, *_: object) -> None:
        """Stop before the iteration that the budget does not cover."""
        if self.budget_is_spent:
            budget = self.critic.budget
            log.warning("the critic's budget of %d queries is spent", budget)
            self.trainer.should_stop = True

    def _choose_chunk_size(self, batch: Batch) -> None:
        """Measure which chunks of a bridge's questions the discriminator scores fastest."""
        self._chunk_size_open = False
        reals, labels = batch.reals[-1], self._labels(batch)[-1]
        queries = self.query_plan.queries_per_sample(self.bridge, reals[0].numel())
        sizes = [size for size in SIZES if size <= queries * len(reals)]
        if self.bridge.traits.access is not Access.SCORES or len(sizes) < 2:
            return
        received = self.received_reals(reals)
        with frozen(self.discriminator.network):
            known = [received, *self.discriminator.context(received, labels)]

            def score(rows: Tensor) -> Tensor:
                parts = (part[rows] for part in known)
                return self.discriminator.generator_losses(*parts)

            rows = torch.arange(len(reals), device=self.device)
            self.critic.chunk_size = fastest_chunk_size(score, rows, sizes)

    def _optimizers(self) -> list[Optimizer]:
        # Lightning adds every optimizer's step to `global_step`; these hooks are where it
        # does so, and it sets them anew for each batch. Only the generator's may count.
        generator, discriminator = self.optimizers()
        profiler = self.trainer.profiler
        discriminator._on_before_step = lambda: profiler.start("optimizer_step")
        discriminator._on_after_step = lambda: profiler.stop("optimizer_step")
        return [generator, discriminator]

    def on_train_start(self) -> None:
        """Let every random generator go on where a checkpoint left it."""
        self.has_begun = True
        if self.device.type == "cpu":
            # Lightning has every optimizer's step look for GPUs by opening a library.
            os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
        last = {
            f"generator.network.{n}"
            for n, _ in self.generator.network.named_parameters()
        }
        last |= {k for k in self.state_dict() if k.startswith("generator.averaged.")}
        self._before = Snapshot(self, last, self.optimizers()[1].optimizer)
        if self._random is not None:
            set_random_state(self._random)
            self._random = None

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        """Mark the format; keep what is counted, and the random generators."""
        checkpoint["gan_gradflow"] = {
            "format": FORMAT,
            "queries": self.critic.queries,
            "seconds": self.seconds,
            "skipped": self.skipped,
            "chunk_size": self.critic.chunk_size,
            "random": random_states(),
        }
        sealed(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Go on counting where the checkpoint left off."""
        kept = checkpoint["gan_gradflow"]
        self.critic.queries = kept["queries"]
        self.skipped = kept["skipped"]
        self._earlier_seconds = kept.get("seconds", 0.0)  # older ones lack it
        if self._chunk_size_open and "chunk_size" in kept:
            self.critic.chunk_size, self._chunk_size_open = kept["chunk_size"], False
        if self.global_rank < len(kept["random"]):
            self._random = kept["random"][self.global_rank]
