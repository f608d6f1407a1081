"""Control variates that a small network learns: LAX, and RELAX where draws are discrete.

For a draw b, the critic's score f(b), and any differentiable network c,

    LAX    pull = [f(b) - c(b)] d log p(b) + d c(b),             b a function of noise
    RELAX  pull = [f(b) - c(z~)] d log p(b) + d c(z) - d c(z~),  b = H(z), z~ ~ p(z | b)

with d the gradient in the emission, which passes through z and z~ but not through the
bracket. Both are unbiased for every c. Since E pull does not depend on c, the gradient of
|pull|^2 in the weights of c is an unbiased estimate of the gradient of the pull's
variance, and c is trained on it. With f = c LAX is the pathwise gradient.

z is logits plus logistic noise for a Bernoulli, b = (z > 0), and logits plus Gumbel noise
for a categorical, b = argmax z. K draws are averaged, and the mean bracket of the others
is subtracted from each bracket. LAX is RELAX with z = b and z~ = b held fixed.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, OneHotCategorical
from torch.nn.functional import one_hot, softplus

from gan_gradflow.bridges.base import GradientBridge, Traits, wide
from gan_gradflow.bridges.distributions import base_of, parameters_of
from gan_gradflow.bridges.small_network import SmallNetwork
from gan_gradflow.critic import Critic
from gan_gradflow.types import Access, Emission


class Relaxation(NamedTuple):
    """Draws of an emission, and what the control variate sees of them.

    Attributes:
        draws: b, without a graph.
        log_prob: log p(b), with the emission's graph and up to a constant.
        free: z, with the graph.
        bound: z~, with the graph.
        tensors: what the pull is a gradient on.
    """

    draws: Shaped[Tensor, "draws batch *event"]
    log_prob: Float[Tensor, "draws batch"]
    free: Float[Tensor, "draws batch ..."]
    bound: Float[Tensor, "draws batch ..."]
    tensors: list[Tensor]


class RELAXBridge(GradientBridge):
    """The score function with a learned control variate; K queries per sample.

    Takes Bernoulli, Categorical and OneHotCategorical emissions (RELAX), distributions
    with reparameterised samples, and tensors, which are given a Gaussian of width sigma
    (LAX). The network learns in training mode from each call; it starts as zero, where
    the pull is the score function's with leave-one-out. Choose it for long runs in few
    dimensions: what it gains, a network of that size has to be able to learn.
    Grathwohl et al., "Backpropagation through the Void", ICLR 2018.

    Args:
        num_draws: K; a single draw has no others to be compared with.
        sigma: width of the Gaussian given to a tensor emission, in its units.
        width: units of the control variate's hidden layer.
        learning_rate: of its own optimizer, Adam.

    Raises:
        ValueError: a number is out of range.
    """

    traits = Traits(
        choose_when="only scores come back, and there is time to learn what lowers the "
        "variance of a score function (LAX; RELAX if discrete)",
        access=Access.SCORES,
        deterministic=False,
        unbiased_for="the expected loss of the draws; for a tensor, the loss smoothed "
        "by sigma",
        queries="K",
        crosses="draws from the emission's distribution; of a tensor also itself",
        returns="scores",
        per_sample=True,
    )

    def __init__(
        self, num_draws: int, sigma: float, width: int, learning_rate: float
    ) -> None:
        super().__init__()
        if num_draws < 1:
            raise ValueError(f"num_draws must be at least 1, got {num_draws}; try 8")
        if not sigma > 0:
            raise ValueError(f"sigma must be positive, got {sigma}; try 0.1 for images")
        self.num_draws = num_draws
        self.sigma = sigma
        self.network = SmallNetwork(width, learning_rate)

    def estimate(
        self, critic: Critic, emission: Emission
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """The mean score of the draws, and the mean of their proxies."""
        drawn = self._relax(emission)
        scores = wide(critic(drawn.draws, num_query_dims=1))
        followed = [tensor for tensor in drawn.tensors if tensor.requires_grad]
        learns = self.training and torch.is_grad_enabled() and bool(followed)
        weights = self.network.weights
        if learns:
            self.network.size_for(drawn.free.shape[-1], drawn.free)
            weights = self.network.weights.clone().requires_grad_()
        proxy = self._proxy(scores, drawn, weights)
        if learns:
            self._learn(proxy, followed, weights)
        return scores.mean(0), proxy

    def queries_per_sample(self, dim: int) -> int:  # noqa: ARG002
        """`num_draws`, whatever the dimension."""
        return self.num_draws

    def _proxy(self, scores: Tensor, drawn: Relaxation, weights: Tensor) -> Tensor:
        bracket = scores - self.network(drawn.bound.detach(), weights)
        if self.num_draws > 1:
            others = (bracket.sum(0) - bracket) / (self.num_draws - 1)
            bracket = bracket - others
        proxy = bracket * drawn.log_prob + self.network(drawn.free, weights)
        return (proxy - self.network(drawn.bound, weights)).mean(0)

    def _learn(self, proxy: Tensor, followed: list[Tensor], weights: Tensor) -> None:
        pulls = torch.autograd.grad(proxy.sum(), followed, create_graph=True)
        size = torch.stack([wide(pull).square().sum() for pull in pulls]).sum()
        mean = size / len(proxy)
        # The graph is kept: backward will pass through the proxy once more.
        self.network.step(torch.autograd.grad(mean, weights, retain_graph=True)[0])

    def _relax(self, emission: Emission) -> Relaxation:
        if not isinstance(emission, Distribution):
            return _around(emission, self.num_draws, self.sigma)
        base = base_of(emission)
        if isinstance(base, Bernoulli):
            return _bernoulli(base, self.num_draws)
        if isinstance(base, Categorical | OneHotCategorical):
            return _categorical(base, self.num_draws)
        if emission.has_rsample:
            return _pathwise(emission, self.num_draws)
        raise ValueError(
            f"RELAXBridge knows no relaxation of {type(base).__name__}; emit a Bernoulli "
            "or a categorical, or choose score_function"
        )


def _around(mean: Tensor, num_draws: int, sigma: float) -> Relaxation:
    noise = torch.randn(num_draws, *mean.shape, dtype=mean.dtype, device=mean.device)
    centre = wide(mean)
    free = _flat(centre + sigma * noise)
    # The gradient of log p(b) in the mean is noise / sigma.
    log_prob = _flat(wide(noise) * centre / sigma).sum(-1)
    draws = mean.detach() + sigma * noise
    return Relaxation(draws, log_prob, free, free.detach(), [mean])


def _pathwise(distribution: Distribution, num_draws: int) -> Relaxation:
    moved = distribution.rsample((num_draws,))
    draws = moved.detach()
    free = _flat(wide(moved))
    log_prob = distribution.log_prob(draws)
    return Relaxation(draws, log_prob, free, free.detach(), parameters_of(distribution))


def _bernoulli(base: Bernoulli, num_draws: int) -> Relaxation:
    logits = wide(base.logits)
    free = logits + _logistic(num_draws, logits)
    hard = (free > 0).detach()
    # Given b, the odds of z~ are 1 + e^noise / (1 - p) if b is 1, else one over
    # 1 + e^noise / p; and -log(1 - p) is softplus(logits).
    noise = _logistic(num_draws, logits)
    above = softplus(noise + softplus(logits))
    below = -softplus(noise + softplus(-logits))
    bound = torch.where(hard, above, below)
    log_prob = _flat(hard * logits - softplus(logits)).sum(-1)
    draws = hard.to(base.logits.dtype)
    return Relaxation(draws, log_prob, _flat(free), _flat(bound), [base.logits])


def _categorical(base: Categorical | OneHotCategorical, num_draws: int) -> Relaxation:
    # Normalised here, so that the pull is one on logits that need not be.
    logits = wide(base.logits).log_softmax(-1)
    free = logits - _log_exponential(num_draws, logits)
    chosen = free.detach().argmax(-1)
    hard = one_hot(chosen, logits.shape[-1]).bool()
    # The largest z is a standard Gumbel; each other one is cut off there.
    noise = _log_exponential(num_draws, logits)
    top = noise.gather(-1, chosen.unsqueeze(-1))
    bound = torch.where(hard, -top, -torch.logaddexp(noise - logits, top))
    log_prob = _flat(hard * logits).sum(-1)
    is_index = isinstance(base, Categorical)
    draws = chosen if is_index else hard.to(base.logits.dtype)
    return Relaxation(draws, log_prob, _flat(free), _flat(bound), [base.logits])


def _uniforms(num_draws: int, like: Tensor) -> Tensor:
    numbers = torch.rand(num_draws, *like.shape, dtype=like.dtype, device=like.device)
    tiny = torch.finfo(like.dtype).eps
    return numbers.clamp(tiny, 1 - tiny)


def _logistic(num_draws: int, like: Tensor) -> Tensor:
    return _uniforms(num_draws, like).logit()


def _log_exponential(num_draws: int, like: Tensor) -> Tensor:
    return (-_uniforms(num_draws, like).log()).log()


def _flat(tensor: Shaped[Tensor, "draws batch ..."]) -> Shaped[Tensor, "draws batch n"]:
    return tensor.reshape(*tensor.shape[:2], -1)
