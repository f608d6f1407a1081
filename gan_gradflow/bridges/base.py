"""The contract of every bridge.

    losses = bridge(critic, emission)     # [batch]
    losses.mean().backward()              # the estimate flows on into the generator

A bridge is a differentiable function of the emission: its value is the critic's loss
for each sample, its gradient the bridge's estimate of the gradient of that loss. A
concrete bridge supplies two things, the losses and a *proxy* `[batch]`: any function of
the emission whose gradient is the estimate (for a pull p on a tensor emission x, the
proxy is <p, x>). The base class returns

    stop_gradient(losses) + (proxy - stop_gradient(proxy)),

whose value is the losses to the last bit and whose gradient is the proxy's. There is no
custom autograd function in it, only ordinary operations:

* `torch.func.grad` passes.
* `torch.compile` passes, into one graph where a bridge seeds no generators of its own
  (`score_function` does, and breaks it).
* Double backward passes. Where only scores come back the pull is a constant, so that a
  second derivative is the generator's alone.
* `torch.vmap` over a bridge passes only where the critic grants its gradient: scores are
  checked to be finite, and vmap cannot look at a number. A bridge takes a batch anyway.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution

from gan_gradflow.critic import Critic
from gan_gradflow.processes import ALONE, Processes
from gan_gradflow.types import Access, Emission


@dataclass(frozen=True)
class Traits:
    """What a bridge promises; read by the base class, the tests and the documentation.

    Attributes:
        choose_when: what has to hold for this bridge to be the one to take.
        access: the least that the critic must grant.
        deterministic: two calls on the same emission give the same pull.
        unbiased_for: what the expected pull is the gradient of.
        queries: queries per sample, in words; `queries_per_sample` counts them.
        crosses: what the critic's side gets to see.
        returns: what comes back over the boundary.
        per_sample: the pull on a sample is estimated from that sample's own loss alone,
            so a critic that couples the samples of a batch is refused.
        stand_ins: the critic scores stand-ins drawn from what the whole batch has in
            common: a loss says nothing about the sample in its row, and a weight on it
            moves every sample.
        any_emission: any floating-point tensor is a good emission; otherwise the parts
            that the bridge is built of fit some emissions only.
        passes_straight_through: autograd need not pass a channel: where it does not, the
            gradient on what comes out is taken for the gradient on what went in.
        shares_a_pass: in a round the pull comes from the discriminator's own backward, so
            that both players are updated together.
    """

    choose_when: str
    access: Access
    deterministic: bool
    unbiased_for: str
    queries: str
    crosses: str
    returns: str
    per_sample: bool
    stand_ins: bool = False
    any_emission: bool = True
    passes_straight_through: bool = False
    shares_a_pass: bool = False


class GradientBridge(nn.Module, ABC):
    """A differentiable function from an emission to the critic's loss for each sample.

    Attributes:
        processes: those that hold the batch together, of which the emission has this
            one's rows; see `share_with`.
    """

    traits: Traits
    processes: Processes = ALONE

    def forward(self, critic: Critic, emission: Emission) -> Float[Tensor, " batch"]:
        """The critic's losses, carrying the estimated gradient back to the emission.

        Raises:
            TypeError: the emission is neither a floating-point tensor nor a distribution.
            ValueError: the critic does not grant the access that this bridge needs, or
                the emission has no batch dimension or nothing in it.
        """
        self._check(critic, emission)
        if self.traits.access is Access.SCORES:
            critic = critic.scores_only()
        losses, proxy = self.estimate(critic, emission)
        return losses.detach() + (proxy - proxy.detach())

    @abstractmethod
    def estimate(
        self, critic: Critic, emission: Emission
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """The losses, and a proxy: a function of the emission with the pull as gradient."""

    @abstractmethod
    def queries_per_sample(self, dim: int) -> int:
        """Queries that one call spends on each sample of `dim` elements."""

    def share_with(self, processes: Processes) -> None:
        """Let emissions be one process's rows of a batch that several hold together.

        Every process then has to call the bridge, with the same random seed and as many
        rows; draws, statistics and all that the bridge learns are those of the whole
        batch.
        """
        for module in self.modules():
            if hasattr(module, "processes"):  # a baseline, a network that learns, ...
                module.processes = processes  # type: ignore[assignment]

    def take(self, num_draws: int) -> None:  # noqa: ARG002
        """Take so many independent draws for each sample, from the next call on.

        Raises:
            ValueError: this bridge has no such number, or cannot take this one.
        """
        raise ValueError(
            f"{type(self).__name__} has no number of independent draws to change; choose "
            "finite_difference, spsa or score_function"
        )

    def relative_variance(self, dim: int) -> float | None:  # noqa: ARG002
        """E|pull - E pull|^2 / |gradient|^2 for tensor samples of `dim` elements.

        On a critic that is linear on the scale of the bridge's step; None where it is not
        known on paper.
        """
        return 0.0 if self.traits.deterministic else None

    def samples(self, emission: Emission) -> Tensor:
        """The samples that an emission stands for: what a trained generator is used for."""
        if isinstance(emission, Distribution):
            return self.processes.drawn(emission, lambda whole: whole.sample(), 0)
        return emission.detach()

    def exposed(self, emission: Emission) -> Tensor:
        """What the discriminator's side may see of an emission; it trains on this."""
        return self.samples(emission)

    def given(self, labels: Tensor | None) -> "GradientBridge":  # noqa: ARG002
        """This bridge for a batch of these classes; most do not look at them."""
        return self

    def generator_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters between emission and critic that learn with the generator."""
        yield from ()

    def figures(self) -> dict[str, float]:
        """What this bridge counts of its own work, to be logged; by name."""
        return {}

    def _check(self, critic: Critic, emission: Emission) -> None:
        name = type(self).__name__
        if self.traits.access is Access.GRADIENT and critic.access is Access.SCORES:
            raise ValueError(
                f"{name} needs a critic that grants its gradient, and this one returns "
                "scores only; choose a bridge that asks for scores, such as "
                "finite_difference or score_function"
            )
        if isinstance(emission, Distribution):
            if len(emission.batch_shape) != 1 or emission.batch_shape.numel() == 0:
                raise ValueError(
                    f"{name} got a distribution of batch shape "
                    f"{list(emission.batch_shape)}; it must be [batch] with at least one "
                    "sample: wrap event dimensions in torch.distributions.Independent"
                )
        elif not isinstance(emission, Tensor) or not emission.is_floating_point():
            kind = emission.dtype if isinstance(emission, Tensor) else type(emission)
            raise TypeError(
                f"{name} got an emission of {kind}; emit floating-point samples, or a "
                "torch.distributions.Distribution for discrete ones"
            )
        elif emission.ndim == 0 or emission.numel() == 0:
            raise ValueError(
                f"{name} got an emission of shape {list(emission.shape)}; it must be "
                "[batch, *event] with at least one sample of at least one element"
            )


def pathwise(emission: Emission, bridge: GradientBridge) -> Tensor:
    """The samples of an emission, with the graph to its parameters.

    Raises:
        ValueError: draws of the distribution carry no graph; the message names the bridge.
    """
    if not isinstance(emission, Distribution):
        return emission
    if not emission.has_rsample:
        raise ValueError(
            f"{type(bridge).__name__} cannot differentiate draws from "
            f"{type(emission).__name__}, which has no reparameterised sample; choose "
            "score_function"
        )
    return bridge.processes.drawn(emission, lambda whole: whole.rsample(), 0)


def rows(samples: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch dim"]:
    """The samples of a batch as vectors, whatever their event shape."""
    return samples.reshape(len(samples), -1)


def inner(
    pull: Float[Tensor, "batch dim"], emission: Float[Tensor, "batch *event"]
) -> Float[Tensor, " batch"]:
    """<pull, emission> for each sample: the proxy whose gradient is the pull.

    In the precision of the pull, so that neither it nor the product overflows, and a loss
    scale reaches the pull before it is rounded to the precision of the emission.
    """
    return (pull * rows(emission).to(pull.dtype)).sum(1)


def add_weighted(
    total: Float[Tensor, "batch dim"],
    weights: Float[Tensor, "directions batch"],
    directions: Float[Tensor, "directions batch *event"],
) -> None:
    """Add weight_k direction_k of each sample to a total in float32 at least, in place.

    One direction after the other, so that the sum does not depend on the blocks they
    come in.
    """
    flat = wide(directions.reshape(*directions.shape[:2], -1))
    for term in wide(weights).unsqueeze(-1) * flat:
        total += term


def wide(tensor: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The tensor in float32 at least."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
