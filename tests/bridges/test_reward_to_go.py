"""Each token answers for what comes after it, and for nothing before."""

import pytest
import torch
from torch.distributions import Categorical, Independent

from gan_gradflow.bridges.baselines import LeaveOneOutBaseline, NoBaseline
from gan_gradflow.bridges.draws import AntitheticDraws, IndependentDraws
from gan_gradflow.bridges.reward_to_go import RewardToGoBridge, less_the_others, to_go
from gan_gradflow.bridges.score_function import ScoreFunctionBridge
from gan_gradflow.critic import Critic
from gan_gradflow.types import Access


class Tokens(Independent):
    """Independent tokens, which say how likely each was."""

    def token_log_prob(self, value):
        return self.base_dist.log_prob(value)


def bridge(discount=1.0, num_draws=2):
    parts = (IndependentDraws(), LeaveOneOutBaseline())
    return RewardToGoBridge(num_draws, 0.1, *parts, discount)


def costs_of(tokens):
    """Each position costs its token, plus twice the token before."""
    before = torch.cat([torch.zeros_like(tokens[:, :1]), tokens[:, :-1]], 1)
    return (tokens + 2 * before).double()


def emission(batch):
    logits = torch.tensor([[0.3, -0.2], [0.0, 0.5], [-0.4, 0.1]]).double()
    logits = logits.requires_grad_()
    return logits, Tokens(Categorical(logits=logits.expand(batch, 3, 2)), 1)


def test_costs_to_go_are_discounted_sums():
    found = to_go(torch.tensor([1.0, 2.0, 4.0]), 0.5)
    assert found.tolist() == [1 + 1 + 1, 2 + 2, 4]


def test_the_baseline_is_the_mean_of_the_others():
    found = less_the_others(torch.tensor([[[[1.0], [2.0]]], [[[3.0], [6.0]]]]))
    torch.testing.assert_close(found[1, 0, 1, 0], torch.tensor(6 - (1 + 2 + 3) / 3))


def test_the_baseline_of_a_draw_knows_nothing_of_its_group():
    costs = torch.tensor([[[1.0, 2.0], [4.0, 8.0]], [[3.0, 6.0], [5.0, 7.0]]])
    found = less_the_others(costs.unsqueeze(-1))  # groups, members, batch, length
    others = (2 + 8 + 3 + 6 + 5 + 7) / 6
    torch.testing.assert_close(found[0, :, 0, 0], torch.tensor([1.0, 4.0]) - others)


def alone(draws, num_draws):
    """The slope along the logit of one fair token that costs itself."""
    logits = torch.zeros(1, 1, 2).double().requires_grad_()
    chosen = RewardToGoBridge(num_draws, 0.1, draws, NoBaseline(), 1.0)
    critic = Critic(lambda x: x.double(), access=Access.SCORES, positions=1)
    losses = chosen(critic, Tokens(Categorical(logits=logits), 1))
    (pull,) = torch.autograd.grad(losses.sum(), logits)
    return losses.item(), pull[0, 0, 1].item()


def test_a_single_draw_of_a_single_sample_has_a_pull():
    torch.manual_seed(0)
    assert {alone(IndependentDraws(), 1) for _ in range(20)} == {(1, 0.5), (0, 0)}


def test_an_antithetic_pair_by_itself_is_unbiased():
    # A fair token and its mirror image are 0 and 1: the mean over draws is exact.
    assert alone(AntitheticDraws(), 2) == (0.5, 0.25)


def test_the_mean_pull_is_the_gradient_of_the_expected_mean_cost():
    # 40 000 samples: relative standard error 0.5 %; an error of 3 % is caught.
    logits, tokens = emission(40_000)
    critic = Critic(costs_of, access=Access.SCORES, positions=3)
    losses = bridge()(critic, tokens)
    (found,) = torch.autograd.grad(losses.mean(), logits)
    ones = logits.softmax(1)[:, 1]  # the chance of token 1, at each position
    expected = (ones + 2 * torch.cat([ones.new_zeros(1), ones[:-1]])).mean()
    (truth,) = torch.autograd.grad(expected, logits)
    assert (found - truth).norm() / truth.norm() < 0.03
    assert abs(losses.mean().item() / expected.item() - 1) < 0.02
    assert critic.queries == 80_000


def test_a_discount_of_zero_hides_what_comes_later():
    logits, tokens = emission(20_000)
    # Only the last position costs something, for the first token alone.
    critic = Critic(
        lambda x: torch.stack([0.0 * x[:, 0], 0.0 * x[:, 0], x[:, 0].double()], 1),
        access=Access.SCORES,
        positions=3,
    )
    (found,) = torch.autograd.grad(bridge(0.0)(critic, tokens).mean(), logits)
    assert torch.equal(found[:2], torch.zeros(2, 2).double())


def test_with_one_loss_for_a_sample_it_is_the_score_function():
    critic = Critic(lambda x: x.double().sum(1), access=Access.SCORES)
    pulls = []
    parts = (IndependentDraws(), LeaveOneOutBaseline())
    for each in (bridge(), ScoreFunctionBridge(2, 0.1, *parts)):
        logits, tokens = emission(6)
        torch.manual_seed(0)
        pulls.append(torch.autograd.grad(each(critic, tokens).sum(), logits)[0])
    assert torch.equal(*pulls)


def test_a_critic_without_positions_says_so():
    with pytest.raises(ValueError, match="one loss for each sample"):
        Critic(lambda x: x.sum(1)).at_each_position(torch.zeros(2, 3))


def test_a_samples_loss_is_the_mean_over_its_positions():
    critic = Critic(costs_of, positions=3)
    tokens = torch.tensor([[1, 0, 1]])
    assert critic(tokens).tolist() == [4 / 3]
    assert critic.at_each_position(tokens).tolist() == [[1, 2, 1]]


@pytest.mark.parametrize("discount", [-0.1, 1.1])
def test_a_discount_is_a_share(discount):
    with pytest.raises(ValueError, match="discount must be"):
        bridge(discount)
