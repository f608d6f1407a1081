"""How many draws a bridge takes in an iteration: a fixed number, or what the noise asks.

What an optimizer sees of a randomised bridge is the generator's parameter gradient G, the
mean over the batch of J_i^T p_i (J_i: Jacobian of sample i, p_i: its pull). A pull whose
cosine with the truth is 0.1 is no harm where hundreds of them average out, so the noise
that counts is that of G, and not that of a pull. Given the latents, with K draws,

    signal  s = |E G|^2,    noise  v / K = E |G - E G|^2,

and the *norm test* of adaptive sampling (Byrd et al., Mathematical Programming 134, 2012)
asks for noise <= signal / snr:

    K  >=  snr * v / s.

Both sides are measured with draws that are there anyway. In an iteration that measures,
the K draws come in two independent halves with gradients A and B, and G = (A + B) / 2:

    E <A, B> = s,      E |A - B|^2 / 4 = v / K,      <A, B> = |G|^2 - |A - B|^2 / 4,

without bias for every critic and every K. Running means of s and of v decide on K.

* **Unbiased.** K in iteration t follows from iterations before t, so given the past the
  draws of t are what they would be with K fixed. (A K chosen by looking at the same draws
  would stop where they happen to agree, and that is a bias.)
* **Bounded.** s is conditional on the latents, so it holds the noise of the batch itself,
  which queries cannot lower: near an equilibrium s falls to that noise and no further,
  and K stays where the draws' noise is a given part of what an exact gradient would have.
* **Which ratio.** An optimizer that forgets in T iterations (T = 1 / (rate * curvature)
  for gradient descent) averages the noise of as many. Let y be the squared distance from
  where it is bound for, which v and K keep above a floor ~ 1 / K. Then y falls by most for
  each query where that floor is y / 2, and the ratio of a single iteration is 1 / T there:
  `snr` is well below 1. A fixed K whose floor is r times the last y takes
  ln((y_0 / y - r) / (1 - r)) / (4 r (1 - y / y_0)) as many queries, at the best r 1.3, 1.9
  and 2.6 times as many for y_0 / y = 10, 100 and 1000. So much there is to gain, where v
  stays as s falls: scores that are noisy themselves. The finite differences of a smooth
  critic are noisy in proportion to its slope: v falls with s, and one K keeps the ratio.
* **Slow to rise.** A signal below what it can be told from asks for every draw there is;
  so K rises by a quarter or by `smallest` at a time, whichever is more, and not before the
  critic has learned what to tell, in the first iterations.
* The *inner product test* (Bollapragada, Byrd and Nocedal, SIAM J. Optim. 28, 2018) would
  ask for the noise along E G only, for fewer draws. Adam divides each element by its own
  size, so what is orthogonal to E G shortens the step along it; hence the norm test.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gan_gradflow.bridges.base import GradientBridge
from gan_gradflow.critic import Critic
from gan_gradflow.processes import ALONE, Processes
from gan_gradflow.types import Emission

_RISE = 4  # a quarter more at a time, or one step


class QueryPlan(nn.Module, ABC):
    """Asks a bridge for its losses, with the number of draws that this iteration gets.

    Attributes:
        processes: those that share the batch; the noise is that of their mean gradient.
    """

    processes: Processes = ALONE

    @abstractmethod
    def check(self, bridge: GradientBridge) -> None:
        """Raise a ValueError unless the bridge can work to this plan."""

    @abstractmethod
    def losses(
        self,
        bridge: GradientBridge,
        critic: Critic,
        emission: Emission,
        parameters: Sequence[Tensor],
    ) -> Float[Tensor, " batch"]:
        """The bridge's losses, which carry its gradient to the generator's parameters."""

    @abstractmethod
    def queries_per_sample(self, bridge: GradientBridge, dim: int) -> int:
        """Queries that the next call spends on each sample of `dim` elements."""

    def settle(self, bridge: GradientBridge) -> None:
        """Give a bridge the draws that an undivided call would take now."""

    def observe(self, norm: Float[Tensor, ""]) -> None:
        """Learn from the norm of the parameter gradient, once it is known."""

    def figures(self) -> dict[str, float]:
        """What is to be logged; by name."""
        return {}


class FixedQueries(QueryPlan):
    """The bridge as it is configured, in every iteration."""

    def check(self, bridge: GradientBridge) -> None:
        """Any bridge can."""

    def losses(
        self,
        bridge: GradientBridge,
        critic: Critic,
        emission: Emission,
        parameters: Sequence[Tensor],  # noqa: ARG002
    ) -> Float[Tensor, " batch"]:
        """One call of the bridge."""
        return bridge(critic, emission)

    def queries_per_sample(self, bridge: GradientBridge, dim: int) -> int:
        """The bridge's own."""
        return bridge.queries_per_sample(dim)


class AdaptiveQueries(QueryPlan):
    """As many draws as keep the parameter gradient's signal-to-noise ratio at `snr`.

    For bridges with independent draws: finite_difference, spsa, adaptive_difference,
    score_function. An iteration that measures costs a second backward pass through the
    generator and no draws. (In two halves forward differences score the sample itself
    twice, and a leave-one-out baseline leaves out one of half as many.) The number of
    draws is in the checkpoint. Choose it where scores are noisy themselves; a smooth
    critic needs no more than a fixed small number.

    Args:
        smallest: the fewest draws; every number is a multiple of it, and half of it must
            be a number that the bridge can take.
        largest: the most draws.
        snr: the wanted ratio |E G|^2 / E |G - E G|^2.
        warm_up: iterations at the start with the fewest draws, and not measured.
        every_n_iterations: how often it is measured after that.
        decay: the share of the past in the running means at each measurement.

    Raises:
        ValueError: a number is out of range.
    """

    num_draws: Tensor
    calls: Tensor
    signal: Tensor
    noise: Tensor

    def __init__(
        self,
        smallest: int,
        largest: int,
        snr: float,
        warm_up: int,
        every_n_iterations: int,
        decay: float,
    ) -> None:
        super().__init__()
        if smallest < 2 or smallest % 2 or largest < smallest:
            raise ValueError(
                "smallest must be even, at least 2 and at most largest, got "
                f"{smallest} and {largest}; try 2 and 32"
            )
        if not snr > 0:
            raise ValueError(f"snr must be positive, got {snr}; try 0.1")
        if warm_up < 0:
            raise ValueError(f"warm_up must not be negative, got {warm_up}; try 100")
        if every_n_iterations < 1:
            raise ValueError(
                f"every_n_iterations must be at least 1, got {every_n_iterations}; try 4"
            )
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}; try 0.9")
        self.smallest = smallest
        self.largest = largest
        self.snr = snr
        self.warm_up = warm_up
        self.every_n_iterations = every_n_iterations
        self.decay = decay
        self._difference: Tensor | None = None  # |A - B|^2 / 4, until it is observed
        zero = torch.zeros((), dtype=torch.float64)
        self.register_buffer("num_draws", torch.tensor(smallest))
        self.register_buffer("calls", torch.tensor(0))
        self.register_buffer("signal", zero.clone())
        self.register_buffer("noise", zero.clone())  # of one draw

    def check(self, bridge: GradientBridge) -> None:
        """Take the fewest draws that any call takes, and the most."""
        try:
            bridge.take(self.smallest // 2)
            bridge.take(self.largest - self.largest % self.smallest)
        except ValueError as error:
            raise ValueError(
                f"queries.smallest={self.smallest}, queries.largest={self.largest}: "
                f"{error}"
            ) from error

    def losses(
        self,
        bridge: GradientBridge,
        critic: Critic,
        emission: Emission,
        parameters: Sequence[Tensor],
    ) -> Float[Tensor, " batch"]:
        """One call of the bridge, or two with half the draws each."""
        measures = self._measures()
        self.calls += 1
        if not measures:
            bridge.take(int(self.num_draws))
            return bridge(critic, emission)
        bridge.take(int(self.num_draws) // 2)
        halves = [bridge(critic, emission) for _ in range(2)]
        differences = torch.autograd.grad(
            (halves[0] - halves[1]).mean() / 2,
            list(parameters),
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        difference = torch.cat([part.flatten() for part in differences])
        difference = self.processes.mean(difference)
        self._difference = difference.norm().double().square()
        return (halves[0] + halves[1]) / 2

    def queries_per_sample(self, bridge: GradientBridge, dim: int) -> int:
        """Those of one call, or of two halves."""
        parts = 2 if self._measures() else 1
        bridge.take(int(self.num_draws) // parts)
        return parts * bridge.queries_per_sample(dim)

    def settle(self, bridge: GradientBridge) -> None:
        """All draws in one call."""
        bridge.take(int(self.num_draws))

    @torch.no_grad()
    def observe(self, norm: Float[Tensor, ""]) -> None:
        """Take a measurement into the running means, and choose the number of draws."""
        if self._difference is None:
            return
        difference, self._difference = self._difference, None
        self.signal.lerp_(norm.double().square() - difference, 1 - self.decay)
        self.noise.lerp_(difference * self.num_draws, 1 - self.decay)
        self.num_draws.fill_(self._wanted())

    def figures(self) -> dict[str, float]:
        """The draws, and the signal-to-noise ratio that they are expected to have."""
        noise = float(self.noise)
        ratio = float(self.signal * self.num_draws) / noise if noise > 0 else math.nan
        return {"draws": float(self.num_draws), "snr": ratio}

    def _measures(self) -> bool:
        since = int(self.calls) - self.warm_up
        return since >= 0 and since % self.every_n_iterations == 0

    def _wanted(self) -> int:
        """The multiple of `smallest` that the norm test asks for, within the bounds."""
        steps = int(self.num_draws) // self.smallest
        most = min(steps + max(1, steps // _RISE), self.largest // self.smallest)
        signal, noise = float(self.signal), float(self.noise)
        if signal <= 0:  # less than can be told from nothing
            return most * self.smallest
        steps = math.ceil(min(self.snr * noise / signal / self.smallest, most))
        return max(1, steps) * self.smallest
