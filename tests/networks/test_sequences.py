"""Sequences whose probabilities can be added up by hand."""

from itertools import product

import pytest
import torch

from gan_gradflow.networks import token_sequences
from gan_gradflow.networks.sequence_discriminators import (
    ConvolutionalSequenceDiscriminator,
    RecurrentSequenceDiscriminator,
)
from gan_gradflow.networks.sequences import AutoregressiveLSTM, LSTMOracle
from gan_gradflow.networks.transformer import AutoregressiveTransformer

EVERY = torch.tensor(list(product(range(3), repeat=2)))


NETWORKS = {
    "lstm": lambda length: AutoregressiveLSTM(1, 3, [length], 4, 5),
    "transformer": lambda length: AutoregressiveTransformer(1, 3, [length], 4, 2, 2),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    return NETWORKS[request.param](2).double()


def test_the_chances_of_all_sequences_add_up_to_one(network):
    emission = network(torch.zeros(1, 1))
    chances = emission.log_prob(EVERY[:, None]).exp()
    torch.testing.assert_close(chances.sum(), torch.tensor(1.0).double())


def test_sequences_are_drawn_as_often_as_their_chances_say(network):
    # 20 000 draws: a standard error of at most 0.0036 for each of nine sequences.
    emission = network(torch.zeros(20, 1))
    drawn = emission.sample((1000,)).flatten(0, 1)
    assert drawn.shape == (20_000, 2)
    seen = (drawn[:, None] == EVERY).all(2).double().mean(0)
    chances = emission.log_prob(EVERY[:, None].expand(-1, 20, -1)).exp()[:, 0]
    assert (seen - chances).abs().max() < 0.02


def test_draws_carry_no_graph_and_their_chances_do(network):
    emission = network(torch.zeros(4, 1))
    drawn = emission.sample()
    assert not drawn.requires_grad
    emission.log_prob(drawn).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_chances_and_their_gradients_are_the_same_in_pieces(network, monkeypatch):
    def slopes():
        log_prob = network(torch.zeros(1, 1)).log_prob(EVERY[:, None])
        weights = torch.linspace(-1, 2, len(EVERY)).double()
        loss = (weights * log_prob[:, 0]).sum()
        return [log_prob, *torch.autograd.grad(loss, list(network.parameters()))]

    whole = slopes()
    monkeypatch.setattr(token_sequences, "_PIECE", 12)  # four tokens of eighteen
    torch.testing.assert_close(slopes(), whole)


def test_a_token_without_a_chance_is_never_drawn(network):
    logits = torch.tensor([-torch.inf, 0.0, -torch.inf, 1.0, -torch.inf])
    drawn = network.chosen(logits.expand(20_000, -1))
    assert set(drawn.flatten().tolist()) == {1, 3}
    seen = (drawn == 3).double().mean().item()
    assert seen == pytest.approx(torch.tensor(1.0).sigmoid().item(), abs=0.015)


def test_a_token_before_changes_what_comes_after_and_not_the_reverse(network):
    emission = network(torch.zeros(2, 1))
    first = emission.token_log_prob(torch.tensor([[0, 1], [1, 1]]))
    other = emission.token_log_prob(torch.tensor([[0, 2], [2, 1]]))
    assert first[0, 0] == other[0, 0]
    assert first[1, 1] != other[1, 1]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_token_follows_from_all_before_it_in_their_order(name):
    # The chances of the last token, after each order of the same tokens.
    emission = NETWORKS[name](4).double()(torch.zeros(3, 1))
    orders = torch.tensor([[0, 1, 2, 0], [1, 0, 2, 0], [0, 2, 1, 0]])
    assert len(set(emission.token_log_prob(orders)[:, 3].tolist())) == 3


def test_one_distribution_serves_the_rows_of_all_processes(network):
    emission = network(torch.zeros(4, 1))
    torch.manual_seed(0)
    rows = network(torch.zeros(8, 1)).sample()
    torch.manual_seed(0)
    assert torch.equal(emission.expand((2, 4)).sample().flatten(0, 1), rows)


@pytest.mark.parametrize("token", [-1, 3])
def test_a_token_outside_the_vocabulary_is_named(network, token):
    with pytest.raises(ValueError, match=f"such as {token}, are outside"):
        network(torch.zeros(1, 1)).log_prob(torch.tensor([[0, token]]))


def test_an_oracle_is_the_same_every_time_and_knows_its_own():
    first, again = (LSTMOracle(50, [10], 32, 32, seed=3) for _ in range(2))
    reals = first.sequences(500, 1)
    assert torch.equal(reals, again.sequences(500, 1))
    random = torch.randint(50, (500, 10))
    assert first.token_nll(reals) < first.token_nll(random) - 1


def test_a_score_for_each_position_knows_nothing_of_later_ones():
    scorer = RecurrentSequenceDiscriminator(3, [4], 5, 6, per_position=True)
    scores = scorer(torch.tensor([[0, 1, 2, 0], [0, 1, 0, 0]]))
    assert scores.shape == (2, 4)
    assert torch.equal(scores[0, :2], scores[1, :2])
    assert scores[0, 2] != scores[1, 2]


def test_a_pattern_scores_the_same_wherever_it_is():
    scorer = ConvolutionalSequenceDiscriminator(3, [6], 5, [2], 4)
    early, late = torch.tensor([[0, 1, 2, 0, 0, 0], [0, 0, 0, 1, 2, 0]])
    torch.testing.assert_close(scorer(early[None]), scorer(late[None]))


def test_kernels_fit_into_the_sequence():
    with pytest.raises(ValueError, match="from 1 to the length 2"):
        ConvolutionalSequenceDiscriminator(3, [2], 5, [3], 4)
    with pytest.raises(ValueError, match=r"have \[length\]"):
        AutoregressiveLSTM(1, 3, [1, 28, 28], 4, 5)


def test_heads_share_the_width():
    with pytest.raises(ValueError, match="width is 5, and 2 heads"):
        AutoregressiveTransformer(1, 3, [2], 5, 2, 1)
