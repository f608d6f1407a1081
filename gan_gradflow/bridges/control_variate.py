"""A score function with a control variate that a small network learns.

For a draw b, the critic's score f(b), and any differentiable network c,

    pull = [f(b) - c(z~)] d log p(b) + d c(z) - d c(z~)

with d the gradient in the emission, which passes through z and z~ but not through the
bracket. What z and z~ are to b is a *relaxation*; wherever z and z~ have one law given
nothing, and z~ has it given b, the pull is unbiased for every c. Since E pull does not
depend on c, the gradient of |pull|^2 in the weights of c is an unbiased estimate of the
gradient of the pull's variance, and c is trained on it. K draws are averaged, and the
mean bracket of the others is subtracted from each bracket.
"""

from abc import abstractmethod
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.distributions import Distribution

from gan_gradflow.bridges.base import GradientBridge, wide
from gan_gradflow.bridges.distributions import parameters_of
from gan_gradflow.bridges.small_network import SmallNetwork
from gan_gradflow.critic import Critic
from gan_gradflow.processes import Processes
from gan_gradflow.types import Emission


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


class ControlVariateBridge(GradientBridge):
    """K queries per sample; the network learns in training mode from each call.

    It starts as zero, where the pull is the score function's with leave-one-out.

    Args:
        num_draws: K; a single draw has no others to be compared with.
        sigma: width of the Gaussian given to a tensor emission, in its units.
        width: units of the control variate's hidden layer.
        learning_rate: of its own optimizer, Adam.

    Raises:
        ValueError: a number is out of range.
    """

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

    @abstractmethod
    def relax(self, emission: Emission) -> Relaxation:
        """K draws for each sample.

        Raises:
            ValueError: this kind of emission has no such relaxation.
        """

    def estimate(
        self, critic: Critic, emission: Emission
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """The mean score of the draws, and the mean of their proxies."""
        drawn = self.relax(emission)
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
        pulls = torch.autograd.grad(
            proxy.sum(), followed, create_graph=True, materialize_grads=True
        )
        size = torch.stack([wide(pull).square().sum() for pull in pulls]).sum()
        mean = size / len(proxy)
        # The graph is kept: backward will pass through the proxy once more.
        self.network.step(torch.autograd.grad(mean, weights, retain_graph=True)[0])


def smoothed(
    mean: Tensor, num_draws: int, sigma: float, processes: Processes
) -> Relaxation:
    """Draws of a Gaussian around a tensor: z = b, and z~ = b held fixed."""
    shape = processes.whole(mean).shape
    noise = torch.randn(num_draws, *shape, dtype=mean.dtype, device=mean.device)
    noise = processes.own(noise, dim=1)
    centre = wide(mean)
    free = flat(centre + sigma * noise)
    # The gradient of log p(b) in the mean is noise / sigma.
    log_prob = flat(wide(noise) * centre / sigma).sum(-1)
    draws = mean.detach() + sigma * noise
    return Relaxation(draws, log_prob, free, free.detach(), [mean])


def reparameterised(
    distribution: Distribution, num_draws: int, processes: Processes
) -> Relaxation:
    """Draws that are functions of noise: z = b, and z~ = b held fixed."""
    moved = processes.drawn(distribution, lambda whole: whole.rsample((num_draws,)), 1)
    draws = moved.detach()
    free = flat(wide(moved))
    log_prob = distribution.log_prob(draws)
    return Relaxation(draws, log_prob, free, free.detach(), parameters_of(distribution))


def flat(tensor: Shaped[Tensor, "draws batch ..."]) -> Shaped[Tensor, "draws batch n"]:
    """The elements of each draw in a row."""
    return tensor.reshape(*tensor.shape[:2], -1)
