"""What the round asks of an emission, a tensor or a distribution: its size, its pull.

With p_kj the gradient on row j of the k-th parameter of a batch of n samples, and the
mean loss differentiated,

    the norm of the pull on a sample = n * mean_j (sum_k |p_kj|^2)^1/2.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import (
    Distribution,
    LowRankMultivariateNormal,
    MultivariateNormal,
)

from gan_gradflow.bridges.distributions import (
    base_of,
    keeps_parameters,
    parameters_of,
)
from gan_gradflow.types import Emission

_UNBROADCASTED = "_unbroadcasted_"


def watch(emission: Emission) -> list[Tensor]:
    """A list that backward fills with the gradients arriving on the emission.

    Of a distribution they are those on its parameters, as far as a sample has its own;
    none for one that keeps no parameters.
    """
    pulls: list[Tensor] = []
    for tensor in _tensors_of(emission):
        if tensor.requires_grad:
            tensor.register_hook(lambda gradient: pulls.append(gradient.detach()))
    return pulls


def pull_norm(pulls: list[Tensor]) -> Float[Tensor, ""] | None:
    """The mean norm of the pull on a sample; None where no gradient arrived."""
    if not pulls:
        return None
    norms = torch.stack([p.reshape(len(p), -1).norm(dim=1) for p in pulls])
    # Times the samples, so that it does not depend on their number.
    return norms.norm(dim=0).mean() * len(pulls[0])


def _tensors_of(emission: Emission) -> list[Tensor]:
    """Where the pull on a sample arrives, `[batch, ...]`."""
    if not isinstance(emission, Distribution):
        return [emission]
    base = base_of(emission)
    if isinstance(base, MultivariateNormal | LowRankMultivariateNormal):
        found = [base.loc, *_factors(base)]
    elif keeps_parameters(base):
        found = parameters_of(base)
    else:
        kept = [v for v in vars(base).values() if isinstance(v, Tensor)]
        found = list({id(tensor): tensor for tensor in kept}.values())
    return [t for t in found if t.shape[:1] == emission.batch_shape]


def _factors(base: Distribution) -> list[Tensor]:
    """What a multivariate normal computes its covariance from, if samples differ in it."""
    kept = {n: v for n, v in vars(base).items() if n.startswith(_UNBROADCASTED)}
    return [
        factor
        for name, factor in kept.items()
        if getattr(base, name.removeprefix(_UNBROADCASTED)).shape == factor.shape
    ]


def size_of(emission: Emission) -> tuple[int, int]:
    """Samples, and elements of each."""
    if isinstance(emission, Distribution):
        return emission.batch_shape.numel(), emission.event_shape.numel()
    return len(emission), emission[0].numel()
