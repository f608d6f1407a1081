"""This project's own round as two step functions, so that the audit watches the code that
trains.

A step is one update of one player on a batch of reals and latents, with `n_critic` = 1:
further updates of the discriminator repeat the first. Mixed precision is that of the
trainer; its gradient scaling, which bf16 does without, is not. A bridge that lets both
players learn from one pass of the discriminator is audited in two, as the exact one.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.optim import Optimizer

from gan_gradflow.audit.loop import audit
from gan_gradflow.audit.report import AuditReport
from gan_gradflow.modules.adversarial import AdversarialModule

Steps = tuple[Callable[[Any], Tensor], Callable[[Any], Tensor]]


class Seen(NamedTuple):
    """What one audited iteration sees of the data, and the latents of both phases."""

    reals: Float[Tensor, "batch *event"]
    labels: Int[Tensor, " batch"] | None
    latents: Float[Tensor, "2 batch latent"]


def audit_module(
    module: AdversarialModule,
    batches: Sequence[Seen],
    autocast: Callable[[], AbstractContextManager[Any]],
) -> AuditReport:
    """Phases, direction and health of a module's own round; the module is left as it was.

    Args:
        module: with its players, its bridge and its channel.
        batches: one for each iteration that is watched.
        autocast: the context in which training runs.
    """
    optimizers, _ = module.configure_optimizers()
    discriminator_step, generator_step = own_steps(module, optimizers, autocast)
    return audit(
        module.generator.network,
        module.discriminator.network,
        discriminator_step,
        generator_step,
        optimizers,
        batches=batches,
        restore=[
            module.bridge,
            module.channel,
            module.query_plan,
            module.generator.averaged,
        ],
        passages=[module.channel],
    )


def own_steps(
    module: AdversarialModule,
    optimizers: Sequence[Optimizer],
    autocast: Callable[[], AbstractContextManager[Any]],
) -> Steps:
    """The discriminator's step and the generator's, each on what it sees of a batch."""
    for_generator, for_discriminator = optimizers

    def discriminator_step(batch: Seen) -> Tensor:
        reals, labels, latents = batch
        with autocast():
            scalars = module.update_discriminator(
                reals, labels, latents[0], for_discriminator
            )
        return scalars["loss/discriminator"] + scalars["loss/penalty"]

    def generator_step(batch: Seen) -> Tensor:
        reals, labels, latents = batch
        with autocast():
            scalars = module.update_generator(reals, labels, latents[1], for_generator)
        return scalars["loss/generator"]

    return discriminator_step, generator_step


def without_trainer(module: AdversarialModule) -> AdversarialModule:
    """The module, whose backward passes now need no trainer."""
    module.manual_backward = lambda loss, **to: loss.backward(**to)  # type: ignore[method-assign]
    return module


def seen_by(module: AdversarialModule, reals: Tensor, labels: Tensor | None) -> Seen:
    """A batch with fresh latents, on the module's device; classes if it asks for them."""
    latents = torch.randn(2, len(reals), module.generator.latent_dim)
    if module.generator.num_classes is None or labels is None:
        labels = None
    else:
        labels = labels.to(module.device)
    return Seen(reals.to(module.device), labels, latents.to(module.device))
