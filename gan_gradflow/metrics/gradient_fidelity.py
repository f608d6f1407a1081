"""How good an estimated gradient is, measured without bias and with error bars.

Of R independent draws p_r of a pull, all of a batch in one vector, and the true g:

    scale         <E p, g> / |g|^2            1 if the estimator is right to the constant
    squared_bias  |E p - g|^2 / |g|^2
    variance      E |p - E p|^2 / |g|^2       with the former, the mean squared error
    signal        |E p|^2 / E |p - E p|^2     signal-to-noise ratio, in power
    cosine        E cos(p_i, g_i)             the mean over the samples i of the batch

|mean_r p_r - g|^2 is larger than the squared bias by variance / R, which is far more than
most biases. The mean over pairs of *different* draws is free of that:

    squared_bias = mean_{r != s} <p_r - g, p_s - g> / |g|^2

and so may come out below zero, by chance. Where g itself is the mean of M draws (see
`gradient_reference.py`), the noise of that mean is subtracted as well.

Errors are standard errors over the draws, by the jackknife; that of a squared bias which
is in truth zero is too large by a factor of sqrt(2).
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution

from gan_gradflow.critic import Critic
from gan_gradflow.metrics.gradient_reference import Reference, flat_gradient
from gan_gradflow.types import Emission

Bridge = Callable[[Critic, Emission], Tensor]


class Figure(NamedTuple):
    """A measured number and its standard error, 0 where nothing is random."""

    value: float
    error: float


@dataclass(frozen=True)
class Fidelity:
    """How good draws of one gradient are; see the module's formulas."""

    scale: Figure
    cosine: Figure
    squared_bias: Figure
    variance: Figure
    signal: Figure


@dataclass(frozen=True)
class GradientFidelity:
    """How good a bridge is on one batch.

    Attributes:
        pull: on the emission, sample by sample.
        parameters: of the mean loss, on the generator's parameters; None if not asked.
        reference: what both were compared with.
        reference_noise: the relative variance of that reference.
        queries_per_sample: spent by each draw, as the critic counted them.
        num_draws: R.
    """

    pull: Fidelity
    parameters: Fidelity | None
    reference: str
    reference_noise: float
    queries_per_sample: float
    num_draws: int


def measure_fidelity(
    bridge: Bridge,
    critic: Critic,
    emission: Emission,
    reference: Reference,
    num_draws: int,
    at: Sequence[Tensor] = (),
    parameters: Sequence[Tensor] = (),
) -> GradientFidelity:
    """Compare `num_draws` gradients of a bridge with the reference.

    The bridge is copied, and a module put into evaluation mode, so that what it learns
    from its calls stays as it is. Randomness is that of torch's global generator.

    Args:
        bridge: maps critic and emission to losses that carry its gradient.
        critic: who is asked; the questions count as queries of this critic.
        emission: where; with its graph, if there are `parameters`.
        reference: the true pull on this emission.
        num_draws: R; 1 says that the bridge is deterministic.
        at: the parameters of a distribution; for a tensor it is the tensor itself.
        parameters: the generator's, to which the pull is followed.

    Raises:
        ValueError: `num_draws` below 1.
    """
    if num_draws < 1:
        raise ValueError(f"num_draws must be at least 1, got {num_draws}; try 32")
    at = tuple(at) or (emission,)  # type: ignore[assignment]
    draw = _drawing(bridge, critic, emission, at)
    asked = critic.queries
    pulls = torch.stack([draw() for _ in range(num_draws)])
    asked = critic.queries - asked
    through = None
    if parameters:
        follow = following_to(at, parameters)
        through = fidelity(
            torch.stack([follow(pull) for pull in pulls]),
            torch.stack([follow(pull) for pull in reference.pulls]),
        )
    return GradientFidelity(
        pull=fidelity(pulls, reference.pulls),
        parameters=through,
        reference=reference.name,
        reference_noise=_noise(reference.pulls) / _square(reference.pulls.mean(0)),
        queries_per_sample=asked / (num_draws * pulls.shape[1]),
        num_draws=num_draws,
    )


def fidelity(
    draws: Float[Tensor, "draws batch dim"], truths: Float[Tensor, "truths batch dim"]
) -> Fidelity:
    """The figures of independent draws against the mean of independent truths.

    A single draw stands for an estimator without randomness, a single truth for one
    without noise.
    """
    truth = truths.double().mean(0)
    noise = _noise(truths)
    square = _square(truth) - noise
    cosines = torch.cosine_similarity(draws.double(), truth, dim=-1).mean(1)
    if square > 0:  # noise turns a reference away from the truth
        cosines = cosines * (_square(truth) / square) ** 0.5
    errors = draws.double().flatten(1) - truth.flatten()
    sums = _Sums(
        number=torch.tensor(len(draws)),
        own=errors.square().sum(1),
        between=errors @ errors.sum(0),
        along=errors @ truth.flatten(),
        cosine=cosines,
    )
    return Fidelity(*sums.figures(square, noise))


class _Sums(NamedTuple):
    """What the figures need of the errors e_r = p_r - g: of each draw, or their sums.

    `own` is |e_r|^2, `between` <e_r, sum_s e_s>, and `along` <e_r, g>.
    """

    number: Tensor
    own: Tensor
    between: Tensor
    along: Tensor
    cosine: Tensor

    def figures(self, square: float, noise: float) -> list[Figure]:
        """Every figure with its error, by leaving out one draw after the other."""
        count = int(self.number)
        values = self._total().values(square, noise)
        if count <= 2:  # a single one has no error, and two less one have no pair
            error = 0.0 if count == 1 else float("nan")
            return [Figure(float(value), error) for value in values]
        without = torch.stack(self._without_each().values(square, noise))
        errors = ((count - 1) * without.var(1, correction=0)).sqrt()
        return [Figure(float(v), float(e)) for v, e in zip(values, errors, strict=True)]

    def values(self, square: float, noise: float) -> list[Tensor]:
        """The figures of totals, in the order of `Fidelity`."""
        pairs = (self.number * (self.number - 1)).clamp(min=1)
        alone = self.number == 1
        bias = torch.where(alone, self.own, (self.between - self.own) / pairs)
        variance = self.own / self.number - bias
        along = self.along / self.number
        return [
            1 + (along + noise) / square,
            self.cosine / self.number,
            (bias - noise) / square,
            variance / square,
            (bias + noise + 2 * along + square) / variance,
        ]

    def _total(self) -> "_Sums":
        return _Sums(self.number, *(each.sum() for each in self[1:]))

    def _without_each(self) -> "_Sums":
        total = self._total()
        return _Sums(
            self.number - 1,
            total.own - self.own,
            total.between - 2 * self.between + self.own,
            total.along - self.along,
            total.cosine - self.cosine,
        )


def _square(vector: Tensor) -> float:
    return float(vector.double().square().sum())


def _noise(truths: Float[Tensor, "truths batch dim"]) -> float:
    """The variance of the mean of independent truths; 0 for a single one."""
    if len(truths) == 1:
        return 0.0
    return float(truths.double().var(0).sum()) / len(truths)


def _drawing(
    bridge: Bridge, critic: Critic, emission: Emission, at: Sequence[Tensor]
) -> Callable[[], Float[Tensor, "batch dim"]]:
    bridge = copy.deepcopy(bridge)
    if isinstance(bridge, nn.Module):
        bridge.eval()
    if isinstance(emission, Distribution):
        return lambda: flat_gradient(bridge(critic, emission).sum(), at)
    x = emission.detach().requires_grad_()
    return lambda: flat_gradient(bridge(critic, x).sum(), [x])


def following_to(
    at: Sequence[Tensor], parameters: Sequence[Tensor]
) -> Callable[[Tensor], Float[Tensor, "1 parameters"]]:
    """The map from a pull on each sample to the gradient of the mean loss.

    Args:
        at: what the pull is on, with its graph to the parameters.
        parameters: where the gradient is wanted.
    """

    def follow(pull: Float[Tensor, "batch dim"]) -> Tensor:
        parts = pull.split([tensor[0].numel() for tensor in at], 1)
        gradients = torch.autograd.grad(
            list(at),
            list(parameters),
            [p.reshape(t.shape) / len(pull) for p, t in zip(parts, at, strict=True)],
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return torch.cat([g.flatten() for g in gradients]).unsqueeze(0)

    return follow
