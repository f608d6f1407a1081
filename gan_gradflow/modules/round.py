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
from collections.abc import Iterator

import lightning as L
import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.optim import Optimizer

from gan_gradflow.bridges.base import GradientBridge, pathwise
from gan_gradflow.bridges.straight_through import passed_through
from gan_gradflow.channels.base import Channel
from gan_gradflow.critic import Critic
from gan_gradflow.datamodules.base import Batch
from gan_gradflow.datamodules.seeding import seed_draws, seed_for
from gan_gradflow.modules.compatibility import refuse_what_cannot_work
from gan_gradflow.modules.discriminator import DiscriminatorModule, as_precise
from gan_gradflow.modules.emissions import pull_norm, size_of, watch
from gan_gradflow.modules.freezing import buffers_kept, frozen
from gan_gradflow.modules.generator import GeneratorModule
from gan_gradflow.modules.latents import iteration_latents
from gan_gradflow.modules.nonfinite import require_finite
from gan_gradflow.modules.one_stage import shared_pull
from gan_gradflow.modules.query_plan import FixedQueries, QueryPlan
from gan_gradflow.processes import ALONE
from gan_gradflow.types import Access, Emission


class Round(L.LightningModule):
    """The two players, the critic between them, and one iteration of their game.

    `AdversarialModule` repeats it.

    Args:
        generator: the player that emits, with the bridge that its emission crosses.
        discriminator: the player that scores.
        n_critic: discriminator updates for each generator update.
        seed: what every latent and every draw follows from.
        access: what the bridge is granted of the discriminator; None grants the least
            that it needs.
        budget: the largest number of critic queries of the run; None for no limit.
        chunk_size: the most samples that the critic scores at once; None for all.

    Raises:
        ValueError: `n_critic` below 1, or a bridge that cannot work with this critic.

    Attributes:
        critic: what the bridge asks: the discriminator behind the channel.
        query_plan: how many draws the bridge takes in each iteration.
        processes: those that share the batch.
    """

    def __init__(
        self,
        generator: GeneratorModule,
        discriminator: DiscriminatorModule,
        n_critic: int,
        seed: int,
        access: Access | None,
        budget: int | None,
        chunk_size: int | None,
    ) -> None:
        super().__init__()
        if n_critic < 1:
            raise ValueError(f"n_critic must be at least 1, got {n_critic}; try 1")
        self.generator = generator
        self.discriminator = discriminator
        self.n_critic = n_critic
        self.seed = seed
        self.processes = ALONE
        self.critic = Critic(
            self.generator_losses,
            access=self.bridge.traits.access if access is None else access,
            budget=budget,
            chunk_size=chunk_size,
            positions=discriminator.positions,
        )
        self.query_plan: QueryPlan = FixedQueries()
        self._asked = (0, 0)  # samples, and elements of each, in the last iteration
        self._times_by_itself = 0
        refuse_what_cannot_work(generator, discriminator, self.critic.access)

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
            passes = self.channel.traits.differentiable
            if not passes and self.bridge.traits.passes_straight_through:
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

    def plan_queries(self, plan: QueryPlan) -> None:
        """Let a plan decide on the bridge's draws in each iteration.

        Raises:
            ValueError: this bridge cannot work to the plan.
        """
        plan.check(self.bridge)
        self.query_plan = plan

    def play(
        self, batch: Batch, for_generator: Optimizer, for_discriminator: Optimizer
    ) -> dict[str, Tensor]:
        """One iteration; what is worth logging of it."""
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
        return scalars

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
        received = self.received_reals(reals)
        leaves = as_precise(fakes.detach(), received).requires_grad_()
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
        found = pull_norm(pulls)
        arrived = {"the generator's loss": loss}
        if found is not None:
            arrived["the pull"] = found
        norm = self._step(self.generator, optimizer, arrived)
        self.query_plan.observe(norm)
        # Synchronised batch norm has done so already; elsewhere nobody does.
        self.processes.average_buffers(
            self.generator.network, self.discriminator.network
        )
        self.generator.update_average()
        scalars = {"loss/generator": loss.detach(), "gradient_norm/generator": norm}
        return scalars if found is None else scalars | {"pull/norm": found}

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

    def _labels(self, batch: Batch) -> list[Tensor | None]:
        """The classes of each update's reals, and so of its fakes, if any are asked for."""
        if self.generator.num_classes is None:
            return [None] * len(batch.reals)
        if batch.labels is None:
            raise ValueError("the generator is conditional, and a batch has no labels")
        return list(batch.labels)


def _learning(optimizer: Optimizer) -> list[Tensor]:
    """What an optimizer updates."""
    return [
        p
        for group in optimizer.param_groups
        for p in group["params"]
        if p.requires_grad
    ]
