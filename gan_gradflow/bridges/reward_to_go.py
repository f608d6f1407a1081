"""The score function for sequences: each token answers for what comes after it.

For a draw x_1 .. x_L with a cost c_t at each position, a discount g and chances
p(x_t | x_<t), the policy gradient is

    pull = mean over draws of  1/L sum_t (C_t - b_t) d log p(x_t | x_<t),
    C_t  = sum_{s >= t} g^(s - t) c_s,

where b_t is the mean of C_t over the draws of the whole batch, less those of the draw's own
group, which depend on it; 0 where none are left. With g = 1 it is unbiased for the gradient
of the expected mean of the costs, and spares every token the costs before it; a smaller g
is biased towards what comes soon, with less variance. The value is the mean cost of a draw.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from gan_gradflow.bridges.base import wide
from gan_gradflow.bridges.baselines import Baseline
from gan_gradflow.bridges.draws import Draws
from gan_gradflow.bridges.score_function import ScoreFunctionBridge
from gan_gradflow.critic import Critic


class RewardToGoBridge(ScoreFunctionBridge):
    """For generators of token sequences and critics with a score for each position.

    Costs K queries per sample. Where the critic has one score for a sample, or the emission
    no log-probability for each position, it is the score function. Sutton et al., NeurIPS
    1999; de Masson d'Autume et al. (ScratchGAN), NeurIPS 2019.

    Args:
        num_draws: K.
        sigma: width of the Gaussian given to a tensor emission, in its units.
        draws: how the draws of a sample depend on each other.
        baseline: what is subtracted from the scores, where there is one for a sample.
        discount: g.

    Raises:
        ValueError: a number is out of range.
    """

    traits = replace(
        ScoreFunctionBridge.traits,
        choose_when="sequences are scored at each position, by scores alone",
        unbiased_for="the expected mean of the costs if discount is 1; what the score "
        "function is unbiased for where there are no positions",
    )

    def __init__(
        self,
        num_draws: int,
        sigma: float,
        draws: Draws,
        baseline: Baseline,
        discount: float,
    ) -> None:
        super().__init__(num_draws, sigma, draws, baseline)
        if not 0 <= discount <= 1:
            raise ValueError(f"discount must be from 0 to 1, got {discount}; try 0.5")
        self.discount = discount

    def _from_distribution(
        self, critic: Critic, emission: Distribution
    ) -> tuple[Tensor, Tensor]:
        token_log_prob = getattr(emission, "token_log_prob", None)
        if not critic.positions or token_log_prob is None:
            return super()._from_distribution(critic, emission)
        with torch.no_grad():
            drawn = self.processes.drawn(
                emission, lambda whole: self.draws.sample(self._shape, whole), 2
            )
        costs = wide(critic.at_each_position(drawn, num_query_dims=2))
        whole = self.processes.gather(to_go(costs, self.discount), 2)
        weights = self.processes.own(less_the_others(whole), 2)
        proxy = (weights * token_log_prob(drawn)).mean((0, 1, -1))
        return costs.mean((0, 1, -1)), proxy


def to_go(
    costs: Float[Tensor, "*shape length"], discount: float
) -> Float[Tensor, "*shape length"]:
    """C_t = c_t + g C_{t+1}."""
    summed = [costs[..., -1]]
    for cost in reversed(costs.unbind(-1)[:-1]):
        summed.append(cost + discount * summed[-1])
    return torch.stack(summed[::-1], -1)


def less_the_others(
    costs: Float[Tensor, "groups members batch length"],
) -> Float[Tensor, "groups members batch length"]:
    """Each cost less the mean at its position over all draws outside its group."""
    own = costs.sum(1, keepdim=True)
    count = costs[..., 0].numel() - costs.shape[1]
    return costs - (own.sum((0, 2), keepdim=True) - own) / max(1, count)
