"""The round: one iteration is `n_critic` discriminator updates and a generator update.

1. Discriminator: the generator emits without a graph, the bridge exposes what may be
   seen of the emission, the channel delivers it, and the discriminator learns from reals
   and that alone.
2. Generator: losses = bridge(critic, generator(latents)); the mean is what it lowers. The
   critic is the discriminator behind the channel.

In each phase only that player's parameters and buffers change. Everything random in a
phase of iteration t follows from (seed, t, phase) and a row's place in the batch of all
processes, so a run that resumes at t goes on as it would have gone, and half a batch on
each of two processes is the whole batch on one. (Not so what networks and channels draw
for themselves, as in dropout: that differs by process.)
"""

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any, Literal

import lightning as L
import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from gan_gradflow.bridges.base import GradientBridge, pathwise
from gan_gradflow.bridges.straight_through import passed_through
from gan_gradflow.channels.base import Channel
from gan_gradflow.critic import Critic, NonFiniteScoresError
from gan_gradflow.datamodules.base import Batch
from gan_gradflow.datamodules.seeding import seed_draws, seed_for
from gan_gradflow.modules.checkpoint import FORMAT, sealed
from gan_gradflow.modules.chunk_size import SIZES, fastest_chunk_size
from gan_gradflow.modules.compatibility import refuse_what_cannot_work
from gan_gradflow.modules.discriminator import DiscriminatorModule
from gan_gradflow.modules.emissions import size_of, watch
from gan_gradflow.modules.freezing import buffers_kept, frozen
from gan_gradflow.modules.generator import GeneratorModule
from gan_gradflow.modules.latents import iteration_latents
from gan_gradflow.modules.nonfinite import (
    NonFiniteError,
    first_nonfinite,
    require_finite,
)
from gan_gradflow.modules.one_stage import shared_pull
from gan_gradflow.modules.query_plan import FixedQueries, QueryPlan
from gan_gradflow.modules.random_state import random_states, set_random_state
from gan_gradflow.modules.snapshot import Snapshot
from gan_gradflow.processes import ALONE, Processes
from gan_gradflow.types import Access, Emission

log = logging.getLogger(__name__)


class AdversarialModule(L.LightningModule):
    """Trains a generator against a discriminator through a gradient bridge.

    `trainer.global_step` counts iterations.

    Args:
        generator: the player that emits, with the bridge that its emission crosses.
        discriminator: the player that scores.
        n_critic: discriminator updates for each generator update.
        seed: what every latent and every draw follows from.
        access: what the bridge is granted of the discriminator; None grants the least
            that it needs.
        budget: the largest number of critic queries of the run; None for no limit.
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
        super().__init__()
        if n_critic < 1:
            raise ValueError(f"n_critic must be at least 1, got {n_critic}; try 1")
        self.automatic_optimization = False
        self.generator = generator
        self.discriminator = discriminator
        self.n_critic = n_critic
        self.seed = seed
        self.on_nonfinite = on_nonfinite
        self.skipped = 0
        self.is_whole = True
        self.has_begun = False
        self.scalars = dict.fromkeys(
            ("loss/generator", "loss/discriminator"), torch.tensor(torch.nan)
        )
        self._random: dict[str, Any] | None = None  # of the checkpoint, until the start
        self.processes = ALONE
        self._times_by_itself = 0
        self.critic = Critic(
            self.generator_losses,
            access=self.bridge.traits.access if access is None else access,
            budget=budget,
            chunk_size=None if chunk_size == "auto" else chunk_size,
            positions=discriminator.positions,
        )
        self._chunk_size_open = chunk_size == "auto"
        self.query_plan: QueryPlan = FixedQueries()
        self._asked = (0, 0)  # samples, and elements of each, in the last iteration
        refuse_what_cannot_work(generator, discriminator, self.critic.access)

    def plan_queries(self, plan: QueryPlan) -> None:
        """Let a plan decide on the bridge's draws in each iteration.

        Raises:
            ValueError: this bridge cannot work to the plan.
        """
        plan.check(self.bridge)
        self.query_plan = plan

    @property
    def bridge(self) -> GradientBridge:
        """How the gradient gets from the discriminator to the generator."""
        return self.generator.bridge

    @property
    def channel(self) -> Channel:
        """What samples go through on their way to the discriminator."""
        return self.generator.channel

    def generator_losses(
        self, fakes: Shaped[Tensor, "n *event"], *context: Tensor
    ) -> Float[Tensor, "n *positions"]:
        """The generator's loss for each sample, as the discriminator receives it."""
        with self._by_itself():
            received = self.channel(fakes)
            if self.bridge.traits.passes_straight_through:
                received = passed_through(received, fakes)
            return self.discriminator.generator_losses(received, *context)

    @torch.no_grad()
    def received_reals(
        self, reals: Shaped[Tensor, "n *event"]
    ) -> Shaped[Tensor, "n *received"]:
        """Reals as the discriminator receives them."""
        if not self.channel.on_reals:
            return reals
        with self._by_itself():
            return self.channel(reals)

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
        self.discriminator.penalty.processes = self.processes
        self.query_plan.processes = self.processes
        self.bridge.share_with(self.processes)

    def training_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """One iteration, or none of it."""
        for_generator, for_discriminator = self._optimizers()
        if self._chunk_size_open:
            self._choose_chunk_size(batch)
        iteration = self.global_step
        self._before.take()
        self.is_whole = False
        try:
            self._play(batch, for_generator, for_discriminator)
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

    def _play(
        self, batch: Batch, for_generator: Optimizer, for_discriminator: Optimizer
    ) -> None:
        iteration, self._times_by_itself = self.global_step, 0
        latents = iteration_latents(
            self.seed,
            iteration,
            shape=(self.n_critic + 1, len(batch.reals[0]), self.generator.latent_dim),
            rank=self.processes.rank,
            world_size=self.processes.size,
        ).to(self.device)
        labels = self._labels(batch)
        scalars: dict[str, Tensor] = {}
        phases = list(zip(batch.reals, labels, latents[:-1], strict=True))
        shared = phases.pop() if self.bridge.traits.shares_a_pass else None
        for phase, seen in enumerate(phases, start=1):
            self._seed_phase(phase)
            scalars |= self.update_discriminator(*seen, for_discriminator)
        self._seed_phase(0)
        if shared is not None:
            scalars |= self._update_both(*shared, for_generator, for_discriminator)
        else:
            scalars |= self.update_generator(
                batch.reals[-1], labels[-1], latents[-1], for_generator
            )
        self.scalars = scalars

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

    def update_discriminator(
        self,
        reals: Tensor,
        labels: Tensor | None,
        latents: Tensor,
        optimizer: Optimizer,
    ) -> dict[str, Tensor]:
        """The discriminator's phase: one update on a batch; what is worth logging."""
        with torch.no_grad(), buffers_kept(self.generator.network):
            emission = self._emission(latents, labels)
            exposed = self.bridge.given(labels).exposed(emission)
            with self._by_itself():
                fakes = self.channel(exposed)
        received = self.received_reals(reals)
        loss, scalars = self.discriminator.loss(received, fakes, labels)
        optimizer.zero_grad()
        # Not to the samples: a penalty has them ask for a gradient that nobody reads.
        self.manual_backward(loss, inputs=_learning(optimizer))
        return self._step_discriminator(loss, scalars, optimizer)

    def _step_discriminator(
        self, loss: Tensor, scalars: dict[str, Tensor], optimizer: Optimizer
    ) -> dict[str, Tensor]:
        arrived = {
            "the mean score of reals": scalars["scores/reals"],
            "the mean score of fakes": scalars["scores/fakes"],
            "the penalty": scalars["loss/penalty"],
            "the discriminator's loss": loss,
        }
        norm = self._step(self.discriminator, optimizer, arrived)
        return scalars | {"gradient_norm/discriminator": norm}

    def update_generator(
        self,
        reals: Tensor,
        labels: Tensor | None,
        latents: Tensor,
        optimizer: Optimizer,
    ) -> dict[str, Tensor]:
        """The generator's phase: one update on a batch; what is worth logging."""
        with frozen(self.discriminator.network):
            emission = self._emission(latents, labels)
            self._asked = size_of(emission)
            received = self.received_reals(reals)
            self.critic.context = self.discriminator.context(received, labels)
            bridge = self.bridge.given(labels)
            losses = self.query_plan.losses(
                bridge, self.critic, emission, self.generator.learning()
            )
            pulls = watch(emission)
            loss = losses.mean() + self.generator.entropy_term(emission)
            optimizer.zero_grad()
            self.manual_backward(loss)
        return self._step_generator(loss, pulls, optimizer)

    def _update_both(
        self,
        reals: Tensor,
        labels: Tensor | None,
        latents: Tensor,
        for_generator: Optimizer,
        for_discriminator: Optimizer,
    ) -> dict[str, Tensor]:
        """Both players learn from one pass of the discriminator, as it is before."""
        emission = self._emission(latents, labels)
        self._asked = size_of(emission)
        pulls = watch(emission)
        with self._by_itself():
            fakes = self.channel(pathwise(emission, self.bridge))
        self.critic.spend(len(fakes) * self.processes.size)
        leaves = fakes.detach().requires_grad_()
        received = self.received_reals(reals)
        loss, scalars, scores = self.discriminator.scored_loss(received, leaves, labels)
        for_discriminator.zero_grad()
        self.manual_backward(loss)
        losses, pull = shared_pull(self.discriminator, leaves, *scores, labels)
        for_generator.zero_grad()
        entropy = self.generator.entropy_term(emission)
        self.manual_backward((pull * fakes).sum() + entropy)
        scalars |= self._step_discriminator(loss, scalars, for_discriminator)
        return scalars | self._step_generator(
            losses.mean() + entropy, pulls, for_generator
        )

    def _step_generator(
        self, loss: Tensor, pulls: list[Tensor], optimizer: Optimizer
    ) -> dict[str, Tensor]:
        # The pull on one sample, so that its size does not depend on the batch.
        pull_norm = torch.stack([p.reshape(len(p), -1).norm(dim=1) for p in pulls])
        pull_norm = pull_norm.norm(dim=0).mean() * len(pulls[0])
        arrived = {"the generator's loss": loss, "the pull": pull_norm}
        norm = self._step(self.generator, optimizer, arrived)
        self.query_plan.observe(norm)
        # Synchronised batch norm has done so already; elsewhere nobody does.
        self.processes.average_buffers(
            self.generator.network, self.discriminator.network
        )
        self.generator.update_average()
        return {
            "loss/generator": loss.detach(),
            "pull/norm": pull_norm,
            "gradient_norm/generator": norm,
        }

    def _step(
        self,
        player: GeneratorModule | DiscriminatorModule,
        optimizer: Optimizer,
        figures: dict[str, Tensor],
    ) -> Float[Tensor, ""]:
        """Check and clip the parameter gradient, then step; its norm before clipping."""
        learning = _learning(optimizer)
        gradients = [p.grad for p in learning if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        name = f"the gradient of {type(player).__name__}"
        require_finite(figures | {name: norm}, self.processes, self.global_step + 1)
        if player.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(learning, player.clip_norm, norm)
        optimizer.step()
        return norm

    def _seed_phase(self, phase: int) -> None:
        """Let draws follow from the generator's phase, 0, or that of an update before."""
        seed = seed_for(self.seed, "draws", self.global_step, phase)
        seed_draws(seed, self.device)

    def _emission(self, latents: Tensor, labels: Tensor | None) -> Emission:
        with self._by_itself():
            return self.generator(latents, labels)

    @contextlib.contextmanager
    def _by_itself(self) -> Iterator[None]:
        """Inside, random numbers are this process's own; outside, all draw the same."""
        if self.processes.size == 1:
            yield
            return
        self._times_by_itself += 1
        place = (self.global_step, self._times_by_itself, self.processes.rank)
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            seed_draws(seed_for(self.seed, "by itself", *place), self.device)
            yield

    def _choose_chunk_size(self, batch: Batch) -> None:
        """Measure which chunks of a bridge's questions the discriminator scores fastest."""
        self._chunk_size_open = False
        reals, labels = batch.reals[-1], self._labels(batch)[-1]
        queries = self.query_plan.queries_per_sample(self.bridge, reals[0].numel())
        sizes = [size for size in SIZES if size <= queries * len(reals)]
        if self.bridge.traits.access is not Access.SCORES or len(sizes) < 2:
            return
        received = self.received_reals(reals)
        known = [received, *self.discriminator.context(received, labels)]

        def score(rows: Tensor) -> Tensor:
            return self.discriminator.generator_losses(*(part[rows] for part in known))

        with frozen(self.discriminator.network):
            rows = torch.arange(len(reals), device=self.device)
            self.critic.chunk_size = fastest_chunk_size(score, rows, sizes)

    def _labels(self, batch: Batch) -> list[Tensor | None]:
        """The classes of each update's reals, and so of its fakes, if any are asked for."""
        if self.generator.num_classes is None:
            return [None] * len(batch.reals)
        if batch.labels is None:
            raise ValueError("the generator is conditional, and a batch has no labels")
        return list(batch.labels)

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
        if self._chunk_size_open and "chunk_size" in kept:
            self.critic.chunk_size, self._chunk_size_open = kept["chunk_size"], False
        if self.global_rank < len(kept["random"]):
            self._random = kept["random"][self.global_rank]


def _learning(optimizer: Optimizer) -> list[Tensor]:
    """What an optimizer updates."""
    return [
        p
        for group in optimizer.param_groups
        for p in group["params"]
        if p.requires_grad
    ]
