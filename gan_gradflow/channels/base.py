"""The contract of every channel: what becomes of samples on their way to the other side.

    emission -> bridge -> channel -> discriminator

The critic's losses are the discriminator's *after* the channel, so a bridge that works
with scores estimates the gradient through both; and the discriminator learns from what
has come through. A channel treats each sample on its own, keeps no state that learns, and
says whether autograd may pass: where it may not, a bridge that needs the critic's gradient
is refused.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from gan_gradflow.critic import NonFiniteScoresError


@dataclass(frozen=True)
class ChannelTraits:
    """What a channel promises; read by the modules and the tests.

    Attributes:
        differentiable: autograd passes, and what arrives is the gradient of what is done.
        deterministic: the same samples come out the same.
    """

    differentiable: bool
    deterministic: bool


class ChannelError(RuntimeError):
    """A channel failed on samples that it was given during a run."""


class NonFiniteSamplesError(ChannelError, NonFiniteScoresError):
    """A channel that turns all into numbers was given NaN or infinity.

    Their scores would be those of something else; they count as not finite.
    """


class Channel(nn.Module, ABC):
    """Maps samples `[n, *event]` to what the discriminator receives, `[n, *received]`.

    Args:
        on_reals: reals go through as well before the discriminator sees them: it compares
            what came through with what came through. Otherwise it compares what came
            through with reals as they are.
        on_samples: samples that are shown, judged or saved have gone through: the channel
            is part of the product. Otherwise they are what the generator sends.
    """

    traits: ChannelTraits

    def __init__(self, on_reals: bool, on_samples: bool) -> None:
        super().__init__()
        self.on_reals = on_reals
        self.on_samples = on_samples

    @abstractmethod
    def forward(
        self, samples: Shaped[Tensor, "n *event"]
    ) -> Shaped[Tensor, "n *received"]:
        """What arrives of the samples.

        Raises:
            ChannelError: the channel failed.
        """

    def require_finite(self, samples: Shaped[Tensor, "n *event"]) -> None:
        """Refuse what would come out as if nothing had happened.

        Raises:
            NonFiniteSamplesError: an element is NaN or infinite.
        """
        if torch.compiler.is_compiling():
            return
        if (samples - samples).any():  # NaN for NaN and infinity, and zero for the rest
            bad = int((~samples.isfinite().flatten(1).all(1)).sum())
            raise NonFiniteSamplesError(
                f"{type(self).__name__} was given {bad} of {len(samples)} samples that "
                "are NaN or infinite: the generator has diverged; go back to an earlier "
                "checkpoint, or lower its learning rate"
            )

    def received_shape(self, event_shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of what arrives of a sample of `event_shape`: the same, as a rule.

        Raises:
            ValueError: samples of this shape cannot pass.
        """
        return tuple(event_shape)

    def figures(self) -> dict[str, float]:
        """What this channel counts of its own work, to be logged; by name."""
        return {}
