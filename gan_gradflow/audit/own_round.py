"""This project's own round as two step functions, so that the audit watches the code that
trains.

A step is one update of one player on a batch of reals and latents, with `n_critic` = 1:
further updates of the discriminator repeat the first. Mixed precision is that of the
trainer; its gradient scaling, which bf16 does without, is not.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from gan_gradflow.audit.loop import audit
from gan_gradflow.audit.report import AuditReport
from gan_gradflow.modules.adversarial import AdversarialModule

Steps = tuple[Callable[[Any], Tensor], Callable[[Any], Tensor]]


def audit_module(
    module: AdversarialModule,
    reals: Sequence[Float[Tensor, "batch *event"]],
    autocast: Callable[[], AbstractContextManager[Any]],
) -> AuditReport:
    """Phases, direction and health of a module's own round; the module is left as it was.

    Args:
        module: with its players, its bridge and its channel.
        reals: a batch for each iteration that is watched.
        autocast: the context in which training runs.
    """
    optimizers = module.configure_optimizers()
    discriminator_step, generator_step = own_steps(module, optimizers, autocast)
    batches = [{"reals": r, "latents": _latents(module, len(r))} for r in reals]
    return audit(
        module.generator.network,
        module.discriminator.network,
        discriminator_step,
        generator_step,
        optimizers,
        batches=batches,
        restore=[module.bridge, module.channel, module.generator.averaged],
    )


def own_steps(
    module: AdversarialModule,
    optimizers: Sequence[Optimizer],
    autocast: Callable[[], AbstractContextManager[Any]],
) -> Steps:
    """The discriminator's step and the generator's, on `{"reals": ..., "latents": ...}`."""
    for_generator, for_discriminator = optimizers

    def discriminator_step(batch: dict[str, Tensor]) -> Tensor:
        with autocast():
            seen = module.update_discriminator(
                batch["reals"], batch["latents"][0], for_discriminator
            )
        return seen["loss/discriminator"] + seen["loss/penalty"]

    def generator_step(batch: dict[str, Tensor]) -> Tensor:
        with autocast():
            seen = module.update_generator(
                batch["reals"], batch["latents"][1], for_generator
            )
        return seen["loss/generator"]

    return discriminator_step, generator_step


def without_trainer(module: AdversarialModule) -> AdversarialModule:
    """The module, whose backward passes now need no trainer."""
    module.manual_backward = lambda loss: loss.backward()  # type: ignore[method-assign]
    return module


def _latents(module: AdversarialModule, batch: int) -> Float[Tensor, "2 batch latent"]:
    latents = torch.randn(2, batch, module.generator.latent_dim)
    return latents.to(module.device)
