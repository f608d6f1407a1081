"""Which players, bridges and channels cannot work together, and what to take instead."""

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan_gradflow.modules.discriminator import DiscriminatorModule
from gan_gradflow.modules.generator import GeneratorModule
from gan_gradflow.modules.one_stage import refuse_one_stage
from gan_gradflow.types import Access


class DeadEndError(ValueError):
    """A bridge needs a gradient through a channel that has none."""


def refuse_what_cannot_work(
    generator: GeneratorModule, discriminator: DiscriminatorModule, access: Access
) -> None:
    """Refuse players whose bridge could not bring a right gradient from one to the other.

    Args:
        generator: with its bridge and its channel.
        discriminator: behind the critic.
        access: what the critic grants.

    Raises:
        DeadEndError: the bridge needs a gradient through a channel that has none.
        ValueError: anything else that cannot work; the message names a way out.
    """
    _refuse_classes(generator, discriminator)
    _refuse_dead_ends(generator, access)
    traits, name = generator.bridge.traits, type(generator.bridge).__name__
    coupling = [how for m in discriminator.modules() if (how := _coupling(m))]
    if traits.per_sample and coupling:
        raise ValueError(
            f"{name} judges every sample by its own loss, and the discriminator couples "
            f"the samples of a batch {coupling[0]}"
        )
    if traits.shares_a_pass:
        refuse_one_stage(discriminator)


def doubts_about_classes(
    generator: GeneratorModule, discriminator: DiscriminatorModule
) -> str | None:
    """Why a generator may not learn the classes it is asked for; None if it can.

    No error: samples may show their class, or the bridge may be all that asks for it.
    """
    if generator.num_classes is None or discriminator.conditional:
        return None
    return (
        f"{type(generator.network).__name__} makes samples of a class, and "
        f"{type(discriminator.network).__name__} is not told which: unless samples show "
        "their class, nothing teaches it; choose a conditional discriminator, such as "
        "discriminator=conditional_dcgan"
    )


def _refuse_classes(
    generator: GeneratorModule, discriminator: DiscriminatorModule
) -> None:
    if not discriminator.conditional:
        return
    if generator.num_classes is None:
        raise ValueError(
            "the discriminator scores a sample as one of its class, and fakes of this "
            "generator have none; choose a conditional generator, such as "
            "generator=conditional_dcgan"
        )
    known: Any = discriminator.network.num_classes
    if known < generator.num_classes:
        raise ValueError(
            f"discriminator.num_classes is {known}, and generator.num_classes "
            f"{generator.num_classes}; make them equal"
        )


def _refuse_dead_ends(generator: GeneratorModule, access: Access) -> None:
    traits, name = generator.bridge.traits, type(generator.bridge).__name__
    if traits.access is not Access.GRADIENT:
        return
    if access is Access.SCORES:
        raise ValueError(
            f"{name} needs the critic's gradient, and critic.access is scores; choose "
            "bridge=finite_difference or bridge=score_function, or set "
            "critic.access=null"
        )
    channel = generator.channel
    if not channel.traits.differentiable and not traits.passes_straight_through:
        raise DeadEndError(
            f"{name} needs the critic's gradient, and {type(channel).__name__} lets none "
            "pass; choose a bridge that needs scores only, or straight_through, which is "
            "biased"
        )


def _coupling(module: nn.Module) -> str | None:
    if isinstance(module, _BatchNorm):
        return "through batch norm; set discriminator.norm=group or discriminator.norm=none"
    if getattr(module, "couples_samples", False):
        return "in packs that share a loss; choose a discriminator that does not pack"
    return None
