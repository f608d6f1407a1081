"""How good the gradient is that the generator learns from, while it learns.

Every so many iterations the generator emits a batch of its own, the bridge is asked for
`num_draws` independent pulls on it, and these are compared with a reference (formulas in
`metrics.gradient_fidelity`): on the emission, and followed to the generator's parameters,
which is what the optimizer sees. Where scores are not finite, there is nothing to compare.
The reference is

* the exact gradient, where autograd can pass discriminator and channel (the mean of two,
  where the channel or the emission is random). A bridge that is
  given scores only is measured by it all the same: the discriminator is ours;
* central differences along all coordinates, where it cannot and a sample has at most
  `_FEW` elements;
* otherwise the same bridge, asked again. Independent estimates that agree have
  little noise; of a bias, that they would share, they say nothing.

A distribution that keeps no parameters of its own, such as one over sequences, has no place
for a pull. The gradients of its bridge are compared on the generator's parameters alone,
with the same bridge, asked again.

Of the same iteration, |w_after - w_before| / |w_before| of each layer's weights says
whether it stands still (far below 1e-4) or is thrown about (above 1e-2).
"""

import copy
import logging
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.distributions import Distribution

from gan_gradflow.bridges.base import GradientBridge
from gan_gradflow.bridges.distributions import keeps_parameters, parameters_of
from gan_gradflow.critic import Critic, NonFiniteScoresError
from gan_gradflow.datamodules.base import Batch
from gan_gradflow.datamodules.seeding import seed_draws, seed_for
from gan_gradflow.metrics.gradient_fidelity import (
    Fidelity,
    fidelity,
    measure_fidelity,
)
from gan_gradflow.metrics.gradient_reference import (
    Reference,
    flat_gradient,
    reference_pull,
)
from gan_gradflow.modules.adversarial import AdversarialModule
from gan_gradflow.modules.freezing import buffers_kept, frozen
from gan_gradflow.modules.latents import iteration_latents
from gan_gradflow.types import Access, Emission

log = logging.getLogger(__name__)

_FEW = 16  # elements of a sample whose every coordinate may be asked for


class GradientFlow(L.Callback):
    """Logs scale, bias, noise and cosine of pull and parameter gradient, and update sizes.

    Its questions go to a critic of its own, so they count neither as the run's queries
    nor against its budget; its random numbers are its own too, and a run with it is the
    same run as without it. `benchmarks/monitor_overhead.py` says what it costs.

    Args:
        every_n_iterations: how often it measures.
        num_draws: independent pulls for each measurement of a randomised bridge.
        seed: what its latents and draws follow from.

    Raises:
        ValueError: a number is out of range.

    Attributes:
        queries: samples scored for it so far.
    """

    def __init__(self, every_n_iterations: int, num_draws: int, seed: int) -> None:
        if every_n_iterations < 1:
            raise ValueError(
                f"every_n_iterations must be at least 1, got {every_n_iterations}; try "
                "100"
            )
        if num_draws < 2:
            raise ValueError(
                f"num_draws must be at least 2 to tell noise from signal, got {num_draws}"
            )
        self.every_n_iterations = every_n_iterations
        self.num_draws = num_draws
        self.seed = seed
        self.queries = 0
        self._before: dict[str, Tensor] = {}
        self._reference: str | None = None

    def on_train_batch_start(self, trainer, pl_module, *_) -> None:  # type: ignore[no-untyped-def]
        """Keep the weights, if the coming iteration is one to measure."""
        if (trainer.global_step + 1) % self.every_n_iterations == 0:
            self._before = {name: w.detach().clone() for name, w in _weights(pl_module)}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, *_) -> None:  # type: ignore[no-untyped-def]
        """Measure and log, if it is time to."""
        if trainer.global_step % self.every_n_iterations:
            return
        figures = self._update_sizes(pl_module)
        with (
            torch.enable_grad(),
            trainer.precision_plugin.forward_context(),
            torch.random.fork_rng(_devices(pl_module.device)),
        ):
            place = ("gradient flow", trainer.global_step)
            seed_draws(seed_for(self.seed, *place), pl_module.device)
            try:
                found = self.measure(pl_module, batch, trainer)
            except NonFiniteScoresError:  # and no gradient
                if pl_module.processes.size > 1:  # the others may have one, and wait
                    raise
                found = None
        figures["gradient_flow/queries"] = self.queries
        if found is not None:
            self._say_reference(trainer, found.reference)
            figures |= _figures(found)
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=trainer.global_step)

    def measure(
        self, pl_module: AdversarialModule, batch: Batch, trainer: L.Trainer
    ) -> "Measured":
        """The fidelity of the bridge as it is, at fresh latents of one batch."""
        reals = batch.reals[-1]
        classes = pl_module.generator.num_classes
        labels = batch.labels[-1] if classes and batch.labels is not None else None
        latents = iteration_latents(
            seed_for(self.seed, "gradient flow"),
            trainer.global_step,
            shape=(1, len(reals), pl_module.generator.latent_dim),
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )[0].to(pl_module.device)
        bridge = copy.deepcopy(pl_module.bridge).eval()
        pl_module.query_plan.settle(bridge)
        bridge = bridge.given(labels)
        discriminator, generator = pl_module.discriminator, pl_module.generator
        with frozen(discriminator.network), buffers_kept(generator.network):
            received = pl_module.received_reals(reals)
            critic = Critic(
                pl_module.critic.function,
                context=discriminator.context(received, labels),
                access=Access.GRADIENT,
                chunk_size=pl_module.critic.chunk_size,
            )
            emission = generator(latents, labels)
            try:
                return self._compared(pl_module, bridge, critic, emission)
            finally:
                self.queries += critic.queries

    def _compared(
        self,
        pl_module: AdversarialModule,
        bridge: GradientBridge,
        critic: Critic,
        emission: Emission,
    ) -> "Measured":
        network = pl_module.generator.network
        weights = [p for p in network.parameters() if p.requires_grad]
        still = pl_module.channel.traits.deterministic
        always_alike = still and bridge.traits.deterministic
        num_draws, repeats = (1, 1) if always_alike else (self.num_draws, 2)
        at = _boundary(emission)
        if at is None:
            return _on_parameters(bridge, critic, emission, num_draws, repeats, weights)
        reference = _reference_for(
            *(bridge, critic, emission, at, _passes(pl_module)),
            of_critic=1 if still else 2,
            of_bridge=repeats,
        )
        found = Measured(reference.name, _norm(reference), None, None)
        if not found.reference_norm:
            return found
        measured = measure_fidelity(
            bridge, critic, emission, reference, num_draws, at, weights
        )
        return found._replace(pull=measured.pull, parameters=measured.parameters)

    def state_dict(self) -> dict[str, int]:
        """The queries so far."""
        return {"queries": self.queries}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on counting."""
        self.queries = state_dict["queries"]

    def _update_sizes(self, pl_module: L.LightningModule) -> dict[str, float]:
        after = dict(_weights(pl_module))
        names = [name for name in self._before if name in after]
        before = [self._before[name] for name in names]
        moved = torch._foreach_sub([after[name].detach() for name in names], before)
        norms = zip(
            names, torch._foreach_norm(moved), torch._foreach_norm(before), strict=True
        )
        self._before = {}
        return {f"update_to_weight/{n}": float(m / b) for n, m, b in norms if b > 0}

    def _say_reference(self, trainer: L.Trainer, reference: str) -> None:
        if reference == self._reference:
            return
        self._reference = reference
        log.info("the pull is compared with: %s", reference)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                line = f"compared with: {reference}"
                logger.experiment.add_text("gradient_flow", line, trainer.global_step)


class Measured(NamedTuple):
    """What there was to measure of one batch.

    Attributes:
        reference: what the gradients were compared with.
        reference_norm: its mean norm on a sample; None where it has no place there.
        pull: on the emission; None without a place, or where the reference is zero.
        parameters: on the generator's parameters; None where the reference is zero.
    """

    reference: str
    reference_norm: float | None
    pull: Fidelity | None
    parameters: Fidelity | None


_OWN = "the same bridge, asked again, which says nothing of a bias"


def _reference_for(
    bridge: GradientBridge,
    critic: Critic,
    emission: Emission,
    at: list[Tensor],
    passes: bool,
    of_critic: int,
    of_bridge: int,
) -> Reference:
    """The best there is; as many repeats as tell noise, of the critic or the bridge."""
    if isinstance(emission, Distribution):
        if passes and emission.has_rsample:
            return reference_pull(critic, emission, at, num_repeats=2)
        return _own(bridge, critic, emission, at, of_bridge)
    x = emission.detach().requires_grad_()
    # Where samples are solutions of an equation, the gradient at x is another question.
    crosses = bridge.traits.stand_ins or _is_seen(bridge, x)
    if crosses and passes:
        losses = [critic(x) for _ in range(of_critic)]
        if losses[0].requires_grad:
            pulls = torch.stack([flat_gradient(each.sum(), [x]) for each in losses])
            return Reference(_repeated("the exact gradient", of_critic), pulls)
    if crosses and x[0].numel() <= _FEW:
        asked = [reference_pull(critic.scores_only(), x) for _ in range(of_critic)]
        pulls = torch.cat([each.pulls for each in asked])
        return Reference(_repeated(asked[0].name, of_critic), pulls)
    return _own(bridge, critic, x, [x], of_bridge)


def _repeated(name: str, repeats: int) -> str:
    return name if repeats == 1 else f"{name}, the mean of {repeats}"


def _own(
    bridge: GradientBridge,
    critic: Critic,
    emission: Emission,
    at: list[Tensor],
    repeats: int,
) -> Reference:
    pulls = [flat_gradient(bridge(critic, emission).sum(), at) for _ in range(repeats)]
    return Reference(_OWN, torch.stack(pulls))


def _on_parameters(
    bridge: GradientBridge,
    critic: Critic,
    emission: Emission,
    num_draws: int,
    repeats: int,
    weights: Sequence[nn.Parameter],
) -> Measured:
    """Gradients of the mean loss, beside a reference of a few more of the same."""

    def gradient() -> Tensor:
        gradients = torch.autograd.grad(
            bridge(critic, emission).mean(),
            weights,
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return torch.cat([g.flatten() for g in gradients]).unsqueeze(0)

    gradients = torch.stack([gradient() for _ in range(num_draws + repeats)])
    found = None
    if gradients[num_draws:].any():
        found = fidelity(gradients[:num_draws], gradients[num_draws:])
    return Measured(_OWN, None, None, found)


def _norm(reference: Reference) -> float:
    """The mean norm of the reference pull on a sample."""
    return float(reference.pulls.double().mean(0).norm(dim=1).mean())


def _boundary(emission: Emission) -> list[Tensor] | None:
    """The tensors of a distribution that a pull is on; none for a tensor: it is itself."""
    if not isinstance(emission, Distribution):
        return []
    if not keeps_parameters(emission):
        return None
    return [t for t in parameters_of(emission) if t.requires_grad] or None


def _is_seen(bridge: GradientBridge, x: Tensor) -> bool:
    exposed = bridge.exposed(x)
    return exposed.shape == x.shape and torch.equal(exposed, x.detach())


def _passes(pl_module: AdversarialModule) -> bool:
    """Whether autograd passes what is behind the bridge."""
    through = pl_module.bridge.traits.passes_straight_through
    return through or pl_module.channel.traits.differentiable


def _figures(found: Measured) -> dict[str, float]:
    blind = found.reference == _OWN
    figures = {}
    if found.reference_norm is not None:
        figures["reference_norm"] = found.reference_norm
    if found.pull is not None:
        figures |= _named("pull", found.pull, blind)
    if found.parameters is not None:
        figures |= _named("parameters", found.parameters, blind)
    named = {f"gradient_flow/{name}": value for name, value in figures.items()}
    return {name: value for name, value in named.items() if math.isfinite(value)}


def _named(what: str, fidelity: Fidelity, blind: bool) -> dict[str, float]:
    """Figures by name; without scale and bias where the reference would share the bias.

    A reference that is all noise, so that its squared norm less its noise is not above
    zero, leaves nothing but the ratio of signal to noise, which does without it.
    """
    noise, figures = fidelity.variance.value, {}
    if noise:
        figures[f"{what}_snr"] = fidelity.signal.value
    if noise < 0:
        return figures
    figures |= {f"{what}_cosine": fidelity.cosine.value, f"{what}_noise": noise**0.5}
    if not blind:
        figures[f"{what}_scale"] = fidelity.scale.value
        figures[f"{what}_squared_bias"] = fidelity.squared_bias.value
    return figures


def _weights(pl_module: L.LightningModule) -> Iterator[tuple[str, nn.Parameter]]:
    """The weights of every layer of both players, by player and layer."""
    for player in ("generator", "discriminator"):
        for name, parameter in getattr(pl_module, player).network.named_parameters():
            if parameter.ndim > 1 and parameter.requires_grad:
                yield f"{player}/{name}", parameter


def _devices(device: torch.device) -> list[torch.device]:
    """The devices, beside the CPU, whose random numbers are to be put back."""
    return [] if device.type == "cpu" else [device]
