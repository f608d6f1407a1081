"""The contract of every channel: what becomes of samples on their way to the other side.

    emission -> bridge -> channel -> discriminator

The critic's losses are the discriminator's *after* the channel, so a bridge that works
with scores estimates the gradient through both; and the discriminator learns from what
has come through. A channel treats each sample on its own, keeps no state that learns, and
says whether autograd may pass: where it may not, a bridge that needs the critic's gradient
is refused. What is NaN or infinite arrives as such: no channel makes numbers of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float, Shaped
from torch import Tensor, nn


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

    def received_shape(self, event_shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of what arrives of a sample of `event_shape`: the same, as a rule.

        Raises:
            ValueError: samples of this shape cannot pass.
        """
        return tuple(event_shape)

    def figures(self) -> dict[str, float]:
        """What this channel counts of its own work, to be logged; by name."""
        return {}


def nonfinite_kept(
    received: Float[Tensor, "n *event"], samples: Float[Tensor, "n *event"]
) -> Float[Tensor, "n *event"]:
    """What arrives, and NaN where the sample was NaN or infinite."""
    return received + (samples - samples)  # zero for the rest
