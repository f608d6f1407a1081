"""Which classes the fakes fall into, as a classifier sees them.

With shares p_c of the fakes and q_c of the reals in class c,

    class_coverage    share of the classes of the reals with p_c >= min_class_share,
    class_kl          sum_c p_c log(p_c / q_c),
    confidence        mean over the fakes of the largest class probability.

A class without reals is none to cover. So that fakes in it add something finite, it
counts for the KL as if one in n of the reals fell into it, for n fakes.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def class_shares(probabilities: Float[Tensor, "n c"]) -> Float[Tensor, " c"]:
    """The share of the samples in each class."""
    counts = probabilities.argmax(1).bincount(minlength=probabilities.shape[1])
    return counts.double() / len(probabilities)


def class_figures(
    probabilities: Float[Tensor, "n c"],
    real_shares: Float[Tensor, " c"],
    min_class_share: float,
) -> dict[str, float]:
    """Coverage, divergence and confidence of the fakes' classes."""
    shares = class_shares(probabilities)
    present = real_shares > 0
    if not present.all():
        real_shares = torch.where(present, real_shares, 1 / len(probabilities))
        real_shares = real_shares / real_shares.sum()
    divergence = shares.xlogy(shares) - shares.xlogy(real_shares)
    return {
        "class_coverage": (shares[present] >= min_class_share).double().mean().item(),
        "class_kl": divergence.sum().item(),
        "confidence": probabilities.amax(1).mean().item(),
    }
