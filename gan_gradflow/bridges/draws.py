"""How the draws of one sample depend on each other.

Every draw follows the emission's distribution exactly, so the mean over the draws keeps
its expectation; only its variance changes. Draws come in groups: the groups are
independent, the members of a group depend on each other. Every sample of a batch has
draws of its own.

Noise is drawn from an explicit generator, for it is needed twice: to ask the critic, and
to weigh the answers.
"""

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import prod

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.distributions import (
    Cauchy,
    Distribution,
    Laplace,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    StudentT,
)
from torch.quasirandom import SobolEngine

from gan_gradflow.bridges.distributions import (
    base_of,
    from_uniforms,
    normals,
    parameters_of,
    uniforms_for,
)

_SYMMETRIC = (
    Cauchy,
    Laplace,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    StudentT,
)
_BITS = 2**30  # what a Sobol point is a multiple of one part in


class Draws(ABC):
    """Groups of draws from the distribution of each sample.

    Attributes:
        drawn_as_one: the noise of a generator comes in one call; otherwise calls go on
            where the last one ended, and a few groups at a time are as good as all.
    """

    drawn_as_one = False

    @abstractmethod
    def members(self, num_draws: int) -> int:
        """How many draws make up a group, of `num_draws` in all.

        Raises:
            ValueError: `num_draws` cannot be cut into such groups.
        """

    @abstractmethod
    def noise(
        self,
        shape: tuple[int, int],
        like: Float[Tensor, "batch *event"],
        generator: torch.Generator,
    ) -> Float[Tensor, "groups members batch *event"]:
        """Standard normal noise for each sample of `like`; `shape` is groups, members."""

    def pair(
        self,
        noise: Float[Tensor, "groups members batch *event"],
        x: Float[Tensor, "batch *event"],  # noqa: ARG002
    ) -> tuple[Float[Tensor, "groups members batch *event"], ...]:
        """For noise around x: u to ask with and v to answer with, of E[v u^T] = I."""
        return noise, noise

    @abstractmethod
    def sample(
        self, shape: tuple[int, int], distribution: Distribution
    ) -> Shaped[Tensor, "groups members ..."]:
        """Draws from the distribution; `shape` is groups, members."""


class IndependentDraws(Draws):
    """Each draw by itself: for every distribution, at the highest variance."""

    def members(self, num_draws: int) -> int:  # noqa: ARG002
        """One."""
        return 1

    def noise(
        self,
        shape: tuple[int, int],
        like: Float[Tensor, "batch *event"],
        generator: torch.Generator,
    ) -> Float[Tensor, "groups members batch *event"]:
        """Independent standard normal noise."""
        return _gaussian(shape, like, generator)

    def sample(
        self, shape: tuple[int, int], distribution: Distribution
    ) -> Shaped[Tensor, "groups members ..."]:
        """The distribution's own samples."""
        return distribution.sample(shape)


class AntitheticDraws(Draws):
    """Pairs mirrored at the centre: what is even about the critic cancels in each pair.

    Distributions symmetric about a point are mirrored there. Others are drawn by their
    inverse distribution function, from u and 1 - u; a pair then helps on critics that are
    monotone in the draw. The number of draws has to be even.
    """

    def members(self, num_draws: int) -> int:
        """Two."""
        if num_draws % 2:
            raise ValueError(
                f"num_draws must be even for antithetic pairs, got {num_draws}; add one, "
                "or choose bridge/draws=independent"
            )
        return 2

    def noise(
        self,
        shape: tuple[int, int],
        like: Float[Tensor, "batch *event"],
        generator: torch.Generator,
    ) -> Float[Tensor, "groups members batch *event"]:
        """Pairs of noise and its negative."""
        noise = _gaussian((shape[0], 1), like, generator)
        return torch.cat([noise, -noise], dim=1)

    def sample(
        self, shape: tuple[int, int], distribution: Distribution
    ) -> Shaped[Tensor, "groups members ..."]:
        """Pairs of draws."""
        base = base_of(distribution)
        if isinstance(base, _SYMMETRIC):
            draws = distribution.sample((shape[0], 1))
            return torch.cat([draws, 2 * base.loc - draws], dim=1)
        numbers = uniforms_for(distribution)
        device = parameters_of(distribution)[0].device
        uniforms = torch.rand(shape[0], 1, *numbers, dtype=torch.float64, device=device)
        uniforms = uniforms.clamp(1 / (4 * _BITS), 1 - 1 / (4 * _BITS))
        return from_uniforms(distribution, torch.cat([uniforms, 1 - uniforms], dim=1))


class QuasiMonteCarloDraws(Draws):
    """Points of a scrambled Sobol net: evenly spread, for smooth critics in few dimensions.

    A net of m points integrates what is smooth with an error near 1 / m instead of
    1 / sqrt(m); in many dimensions the gain is small, but nothing is lost. A group is one
    net. Its scrambling is drawn anew for every call, and for every sample its digits are
    flipped at random, which makes each point uniform: unbiased, up to 2^-31. At most
    21 201 elements. Owen, Journal of Complexity 14, 1998.

    Args:
        num_scrambles: nets for each sample; what the draws are grouped by.

    Raises:
        ValueError: `num_scrambles` below 1.
    """

    drawn_as_one = True

    def __init__(self, num_scrambles: int) -> None:
        if num_scrambles < 1:
            raise ValueError(
                f"num_scrambles must be at least 1, got {num_scrambles}; leave-one-out "
                "needs 2"
            )
        self.num_scrambles = num_scrambles

    def members(self, num_draws: int) -> int:
        """The points of a net."""
        if num_draws % self.num_scrambles:
            raise ValueError(
                f"num_draws must be a multiple of num_scrambles, "
                f"got {num_draws} and {self.num_scrambles}; nets of a power of two are "
                "the most even"
            )
        return num_draws // self.num_scrambles

    def noise(
        self,
        shape: tuple[int, int],
        like: Float[Tensor, "batch *event"],
        generator: torch.Generator,
    ) -> Float[Tensor, "groups members batch *event"]:
        """The normal quantiles of Sobol points."""
        uniforms = _scrambled(shape, like.shape, generator)
        return normals(uniforms).to(like.dtype)

    def sample(
        self, shape: tuple[int, int], distribution: Distribution
    ) -> Shaped[Tensor, "groups members ..."]:
        """The distribution's quantiles at Sobol points."""
        seed = int(torch.randint(2**62, ()))
        device = parameters_of(distribution)[0].device
        numbers = uniforms_for(distribution)
        batch_dims = len(distribution.batch_shape)
        flat = torch.Size((prod(numbers[:batch_dims]), *numbers[batch_dims:]))
        generator = torch.Generator(device).manual_seed(seed)
        uniforms = _scrambled(shape, flat, generator)
        return from_uniforms(distribution, uniforms.view(*shape, *numbers))


def _gaussian(
    shape: tuple[int, int], like: Tensor, generator: torch.Generator
) -> Tensor:
    return torch.randn(
        *shape,
        *like.shape,
        dtype=like.dtype,
        device=like.device,
        generator=generator,
    )


def _net(dim: int, members: int, seed: int) -> Float[Tensor, "members dim"]:
    engine = SobolEngine(dim, scramble=True, seed=seed)
    return engine.draw(members, dtype=torch.float64)


@torch.compiler.disable
def _scrambled(
    shape: tuple[int, int], numbers: torch.Size, generator: torch.Generator
) -> Float[Tensor, "groups members batch ..."]:
    groups, members = shape
    batch, dim = numbers[0], prod(numbers[1:])
    if dim > SobolEngine.MAXDIM:
        raise ValueError(
            f"Sobol points have at most {SobolEngine.MAXDIM} elements, and a sample here "
            f"takes {dim}; choose bridge/draws=antithetic"
        )
    device, seed = generator.device, generator.initial_seed()
    seeds = range(seed, seed + groups)
    # torch.func follows a thread's operations, and the engine stands none of them.
    with ThreadPoolExecutor(max_workers=1) as outside:
        nets = list(outside.map(partial(_net, dim, members), seeds))
    digits = (torch.stack(nets).to(device) * _BITS).round().long().unsqueeze(2)
    flips = torch.randint(
        _BITS, (groups, 1, batch, dim), device=device, generator=generator
    )
    return ((digits ^ flips) + 0.5).div(_BITS).view(groups, members, *numbers)
