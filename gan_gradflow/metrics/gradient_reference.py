"""The pull that estimated ones are compared with, and how it was come by.

* The critic grants its gradient: autograd's own, one query per sample.
* Only scores come back, of a tensor emission in R^d: central differences along every
  coordinate, 2 d queries per sample, with an error of O(step^2) and of rounding.
* The emission is a distribution, so that even the best pull is random: the mean of many
  independent draws, pathwise where the critic grants its gradient and the distribution
  can be reparameterised, and otherwise of the score function

      1 / K * sum_k (f(x_k) - mean_{j != k} f(x_j)) * d log p(x_k) / d theta.

  The draws are kept apart, so that the noise of their mean is known.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from gan_gradflow.critic import Critic
from gan_gradflow.types import Access, Emission

# Rounding against curvature along one coordinate, for scores of order one.
_STEPS = {torch.float32: 1e-2, torch.float64: 1e-4}
_BLOCK_ELEMENTS = 2**20
_DRAWS = 64  # of the score function, for each independent repeat


@dataclass(frozen=True)
class Reference:
    """Independent estimates of the true pull; one if it is not random."""

    name: str
    pulls: Float[Tensor, "repeats batch dim"]


def reference_pull(
    critic: Critic,
    emission: Emission,
    at: Sequence[Tensor] = (),
    num_repeats: int = 32,
    random_critic: bool = False,
    step: float | None = None,
) -> Reference:
    """The best pull that this critic allows.

    Args:
        critic: who is asked; the questions count as queries of this critic.
        emission: where.
        at: the parameters of a distribution; for a tensor it is the tensor itself.
        num_repeats: how many independent repeats, where the pull is random.
        random_critic: the same sample does not always get the same score.
        step: of central differences; None chooses by dtype. A critic that is flat between
            jumps takes one that is longer than they are apart.

    Raises:
        ValueError: a distribution without `at`.
    """
    if isinstance(emission, Distribution):
        if not at:
            raise ValueError(
                "a distribution needs `at`, the parameters to differentiate"
            )
        name, loss = _random(critic, emission)
        pulls = [flat_gradient(loss(), at) for _ in range(num_repeats)]
        return Reference(name, torch.stack(pulls))
    x = emission.detach().requires_grad_()
    if critic.access is Access.GRADIENT:
        losses = [critic(x) for _ in range(num_repeats if random_critic else 1)]
        if losses[0].requires_grad:
            pulls = [flat_gradient(loss.sum(), [x]) for loss in losses]
            name = "mean of many exact gradients" if random_critic else "exact gradient"
            return Reference(name, torch.stack(pulls))
    step = _STEPS.get(x.dtype, 1e-1) if step is None else step
    return Reference(
        f"central differences along all {x[0].numel()} coordinates, step {step:g}",
        _coordinate_differences(critic, x.detach(), step).unsqueeze(0),
    )


def flat_gradient(loss: Tensor, at: Sequence[Tensor]) -> Float[Tensor, "batch dim"]:
    """d loss / d at, the rows of all tensors side by side; the graph is kept."""
    gradients = torch.autograd.grad(
        loss, list(at), retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return torch.cat([g.detach().reshape(len(g), -1) for g in gradients], 1)


def _random(critic: Critic, emission: Distribution) -> tuple[str, Callable[[], Tensor]]:
    """A name, and a loss anew at each call whose gradient has the true mean."""
    if critic.access is Access.GRADIENT and emission.has_rsample:
        return "mean of many pathwise gradients", lambda: critic(
            emission.rsample()
        ).sum()

    def score_function() -> Tensor:
        draws = emission.sample((_DRAWS,))
        scores = critic(draws, num_query_dims=1).detach()
        others = (scores.sum(0) - scores) / (_DRAWS - 1)
        return ((scores - others) * emission.log_prob(draws)).mean(0).sum()

    return "mean of many score-function draws", score_function


def _coordinate_differences(
    critic: Critic, x: Float[Tensor, "batch *event"], step: float
) -> Float[Tensor, "batch dim"]:
    columns = []
    for axes in _axes(x):
        shifted = torch.stack([x + step * axes, x - step * axes])
        above, below = critic(shifted, num_query_dims=2).detach()
        columns.append((above - below) / (2 * step))
    return torch.cat(columns).T


def _axes(x: Float[Tensor, "batch *event"]) -> Iterator[Float[Tensor, "axes 1 *event"]]:
    dim = x[0].numel()
    size = max(1, _BLOCK_ELEMENTS // x.numel())
    for start in range(0, dim, size):
        number = torch.arange(start, min(start + size, dim), device=x.device)
        axes = torch.nn.functional.one_hot(number, dim).to(x)
        yield axes.view(-1, 1, *x.shape[1:])
