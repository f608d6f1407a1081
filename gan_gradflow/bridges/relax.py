"""RELAX: a learned control variate for draws that are discrete.

For a draw b = H(z), the critic's score f(b), and any differentiable network c,

    pull = [f(b) - c(z~)] d log p(b) + d c(z) - d c(z~),    z~ ~ p(z | b)

with d the gradient in the emission, which passes through z and z~ but not through the
bracket: see `control_variate.py`. z is logits plus logistic noise for a Bernoulli, with
b = (z > 0), and logits plus Gumbel noise for a categorical, with b = argmax z.
"""

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, OneHotCategorical
from torch.nn.functional import one_hot, softplus

from gan_gradflow.bridges.base import Traits, wide
from gan_gradflow.bridges.control_variate import (
    ControlVariateBridge,
    Relaxation,
    flat,
    reparameterised,
    smoothed,
)
from gan_gradflow.bridges.distributions import base_of
from gan_gradflow.processes import Processes
from gan_gradflow.types import Access, Emission


class RELAXBridge(ControlVariateBridge):
    """The score function with a learned control variate, for discrete emissions.

    Takes Bernoulli, Categorical and OneHotCategorical emissions, and as `LAXBridge` does
    distributions with reparameterised samples and tensors. Costs K queries per sample and
    one small network's step. Choose it for long runs in few dimensions: what it gains, a
    network of that size has to be able to learn.
    Grathwohl et al., "Backpropagation through the Void", ICLR 2018.
    """

    traits = Traits(
        choose_when="only scores come back, the emission is discrete, and there is time "
        "to learn what lowers the variance of a score function",
        access=Access.SCORES,
        deterministic=False,
        unbiased_for="the expected loss of the draws; for a tensor, the loss smoothed "
        "by sigma",
        queries="K",
        crosses="draws from the emission's distribution; of a tensor also itself",
        returns="scores",
        per_sample=True,
    )

    def relax(self, emission: Emission) -> Relaxation:
        """Draws, and relaxations of them where they are discrete.

        Raises:
            ValueError: no relaxation of the distribution is known.
        """
        num_draws, processes = self.num_draws, self.processes
        if not isinstance(emission, Distribution):
            return smoothed(emission, num_draws, self.sigma, processes)
        base = base_of(emission)
        if isinstance(base, Bernoulli):
            return _bernoulli(base, num_draws, processes)
        if isinstance(base, Categorical | OneHotCategorical):
            return _categorical(base, num_draws, processes)
        if emission.has_rsample:
            return reparameterised(emission, num_draws, processes)
        raise ValueError(
            f"RELAXBridge knows no relaxation of {type(base).__name__}; emit a Bernoulli "
            "or a categorical, or choose score_function"
        )


def _bernoulli(base: Bernoulli, num_draws: int, processes: Processes) -> Relaxation:
    logits = wide(base.logits)
    free = logits + _logistic(num_draws, logits, processes)
    hard = (free > 0).detach()
    # Given b, the odds of z~ are 1 + e^noise / (1 - p) if b is 1, else one over
    # 1 + e^noise / p; and -log(1 - p) is softplus(logits).
    noise = _logistic(num_draws, logits, processes)
    above = softplus(noise + softplus(logits))
    below = -softplus(noise + softplus(-logits))
    bound = torch.where(hard, above, below)
    log_prob = flat(hard * logits - softplus(logits)).sum(-1)
    draws = hard.to(base.logits.dtype)
    return Relaxation(draws, log_prob, flat(free), flat(bound), [base.logits])


def _categorical(
    base: Categorical | OneHotCategorical, num_draws: int, processes: Processes
) -> Relaxation:
    # Normalised here, so that the pull is one on logits that need not be.
    logits = wide(base.logits).log_softmax(-1)
    free = logits - _log_exponential(num_draws, logits, processes)
    chosen = free.detach().argmax(-1)
    hard = one_hot(chosen, logits.shape[-1]).bool()
    # The largest z is a standard Gumbel; each other one is cut off there.
    noise = _log_exponential(num_draws, logits, processes)
    top = noise.gather(-1, chosen.unsqueeze(-1))
    bound = torch.where(hard, -top, -torch.logaddexp(noise - logits, top))
    log_prob = flat(hard * logits).sum(-1)
    is_index = isinstance(base, Categorical)
    draws = chosen if is_index else hard.to(base.logits.dtype)
    return Relaxation(draws, log_prob, flat(free), flat(bound), [base.logits])


def _uniforms(num_draws: int, like: Tensor, processes: Processes) -> Tensor:
    shape = processes.whole(like).shape
    numbers = torch.rand(num_draws, *shape, dtype=like.dtype, device=like.device)
    tiny = torch.finfo(like.dtype).eps
    return processes.own(numbers, dim=1).clamp(tiny, 1 - tiny)


def _logistic(num_draws: int, like: Tensor, processes: Processes) -> Tensor:
    return _uniforms(num_draws, like, processes).logit()


def _log_exponential(num_draws: int, like: Tensor, processes: Processes) -> Tensor:
    return (-_uniforms(num_draws, like, processes).log()).log()
