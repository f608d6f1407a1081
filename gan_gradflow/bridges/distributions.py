"""Distributions from the inside: their parameters, and draws made from uniform numbers.

If u is uniform on (0, 1), the inverse F^-1(u) of the distribution function F is a draw.
How the uniforms depend on each other is then free: mirrored, or spread evenly. A
multivariate normal takes one uniform for each element, mu + L Phi^-1(u) with L L' its
covariance; a categorical takes one, cut at its cumulated chances.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    OneHotCategorical,
    RelaxedBernoulli,
    RelaxedOneHotCategorical,
)
from torch.distributions.relaxed_categorical import ExpRelaxedCategorical

_MULTIVARIATE = (MultivariateNormal, LowRankMultivariateNormal)


def base_of(distribution: Distribution) -> Distribution:
    """The distribution inside all `Independent` wrappers."""
    while isinstance(distribution, Independent):
        distribution = distribution.base_dist
    return distribution


def parameters_of(distribution: Distribution) -> list[Tensor]:
    """The tensors that a distribution was built from, with their graph.

    Raises:
        ValueError: it keeps none where it says that its parameters are.
    """
    base = base_of(distribution)
    if isinstance(base, RelaxedBernoulli | RelaxedOneHotCategorical):
        base = base.base_dist
    if isinstance(base, OneHotCategorical | ExpRelaxedCategorical):
        base = base._categorical
    kept = {
        name: value
        for name, value in vars(base).items()
        if name in base.arg_constraints and isinstance(value, Tensor)
    }
    # Of chances and logits the second was computed from the first, when first asked for.
    for derived in [name for name in kept if name in ("probs", "logits")][1:]:
        del kept[derived]
    found = list(kept.values())
    if not found:
        found = [getattr(base, name) for name in base.arg_constraints]
    if not found:
        raise ValueError(
            f"{type(base).__name__} keeps no parameters of its own; emit one of the "
            "plain families of torch.distributions"
        )
    return found


def keeps_parameters(distribution: Distribution) -> bool:
    """Whether `parameters_of` finds any."""
    try:
        return bool(parameters_of(distribution))
    except (ValueError, NotImplementedError):  # it need not even say what they are
        return False


def uniforms_for(distribution: Distribution) -> torch.Size:
    """The shape of the uniform numbers `[batch, ...]` that one draw takes."""
    base = base_of(distribution)
    if isinstance(base, _MULTIVARIATE):
        return base.batch_shape + base.event_shape
    return base.batch_shape


def from_uniforms(
    distribution: Distribution, uniforms: Float[Tensor, "..."]
) -> Shaped[Tensor, "..."]:
    """Draws, monotone in each of the uniforms `[*draws, batch, ...]` on (0, 1).

    Raises:
        ValueError: the inverse of the distribution function is not known.
    """
    base = base_of(distribution)
    if isinstance(base, Bernoulli):
        return (uniforms > 1 - base.probs).to(base.probs.dtype)
    if isinstance(base, Categorical):
        return _categories(base.probs, uniforms)
    if isinstance(base, OneHotCategorical):
        chosen = _categories(base.probs, uniforms)
        return torch.nn.functional.one_hot(chosen, base.probs.shape[-1]).to(base.probs)
    if isinstance(base, _MULTIVARIATE):
        normal = normals(uniforms).to(base.loc)
        return base.loc + (base.scale_tril @ normal.unsqueeze(-1)).squeeze(-1)
    try:
        draws = base.icdf(uniforms)
    except NotImplementedError as error:
        raise ValueError(
            f"{type(base).__name__} has no inverse distribution function to draw "
            "through; choose bridge/draws=independent"
        ) from error
    return draws.to(parameters_of(base)[0].dtype)


def normals(uniforms: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Standard normal numbers from uniform ones."""
    return torch.special.ndtri(uniforms)


def _categories(probs: Tensor, uniforms: Tensor) -> Tensor:
    cuts = probs.double().cumsum(-1)
    # Divided by the total, so that rounding never picks a last category of chance zero.
    cuts = cuts[..., :-1] / cuts[..., -1:]
    return (uniforms.unsqueeze(-1) > cuts).sum(-1)


def two_valued(distribution: Distribution, asker: str) -> Bernoulli | OneHotCategorical:
    """The Bernoulli or one-hot categorical inside a distribution.

    Raises:
        ValueError: it is neither; `asker` needs draws whose elements are 0 or 1.
    """
    base = base_of(distribution)
    if not isinstance(base, Bernoulli | OneHotCategorical):
        raise ValueError(
            f"{asker} takes Bernoulli and OneHotCategorical emissions, and got "
            f"{type(base).__name__}; emit one-hot draws for integers, or choose "
            "score_function (exact for reparameterised draws)"
        )
    return base
