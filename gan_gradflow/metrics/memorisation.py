"""Whether the fakes are nearer to the training set than held-out reals are.

With delta(x) the distance from x to its nearest training sample, and q the 1 % quantile
of delta over the held-out reals,

    nearer_than_reals   P(delta(fake) < delta(real)) + P(equal) / 2,
    copied              P(delta(fake) < q).

The first is the statistic of Mann and Whitney (as in Meehan, Chaudhuri and Dasgupta, "A
non-parametric test to detect data-copying in generative models", AISTATS 2020): 1/2 for
fakes distributed as the reals, 1 for copies, near 0 for fakes that are far from everything.
The second finds a few copies among many fakes; held-out reals have .01.
"""

import torch
from jaxtyping import Float
from torch import Tensor

_COPY_QUANTILE = 0.01
FLOOR = {"nearer_than_reals": 0.5, "copied": _COPY_QUANTILE}


def memorisation(
    fakes: Float[Tensor, " n"], reals: Float[Tensor, " m"]
) -> dict[str, float]:
    """Both statistics.

    Args:
        fakes: the distance from each fake to its nearest training sample.
        reals: the same for held-out reals.
    """
    reals = reals.sort().values
    below = torch.searchsorted(reals, fakes, right=False)
    not_above = torch.searchsorted(reals, fakes, right=True)
    farther = len(reals) - (below + not_above).double() / 2
    threshold = reals.quantile(_COPY_QUANTILE)
    return {
        "nearer_than_reals": farther.mean().item() / len(reals),
        "copied": (fakes < threshold).double().mean().item(),
    }
