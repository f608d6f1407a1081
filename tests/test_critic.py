"""The critic: what it counts, what it cuts, what it lets through and what it refuses."""

import numpy as np
import pytest
import torch

from gan_gradflow.critic import BudgetExceededError, Critic, CriticError
from gan_gradflow.types import Access

SAMPLES = torch.arange(12, dtype=torch.float64).view(4, 3)


def total(samples):
    return samples.flatten(1).sum(1)


class Sizes:
    """A loss that remembers how many samples it was given at a time."""

    def __init__(self):
        self.seen = []

    def __call__(self, samples, *context):
        self.seen.append(len(samples))
        return total(samples)


# Shapes


def test_a_loss_for_each_sample():
    assert torch.equal(Critic(total)(SAMPLES), SAMPLES.sum(1))


@pytest.mark.parametrize("queries", [(), (5,), (2, 5)])
def test_queries_lead_the_losses_as_they_lead_the_samples(queries):
    samples = torch.randn(*queries, 4, 3, 2)
    losses = Critic(total)(samples, num_query_dims=len(queries))
    torch.testing.assert_close(losses, samples.sum((-1, -2)))


def test_samples_may_be_discrete():
    table = torch.tensor([0.5, 2.0, -1.0])
    losses = Critic(lambda x: table[x])(torch.tensor([2, 0]))
    assert losses.tolist() == [-1.0, 0.5]


# Counting


def test_every_sample_scored_is_one_query():
    critic = Critic(total)
    critic(SAMPLES)
    critic(SAMPLES.expand(2, 5, 4, 3), num_query_dims=2)
    assert critic.queries == 4 + 2 * 5 * 4


def test_counting_goes_on_from_a_checkpoint():
    critic = Critic(total, budget=10)
    critic.queries = 7
    with pytest.raises(BudgetExceededError, match="of which 7 are spent"):
        critic(SAMPLES)


def test_a_budget_is_spent_to_the_last_query():
    critic = Critic(total, budget=8)
    critic(SAMPLES)
    critic(SAMPLES)
    assert critic.queries == 8


def test_nothing_is_asked_beyond_the_budget():
    sizes = Sizes()
    critic = Critic(sizes, budget=7, chunk_size=1)
    critic(SAMPLES)
    with pytest.raises(BudgetExceededError, match="4 more queries"):
        critic(SAMPLES)
    assert sum(sizes.seen) == critic.queries == 4


def test_a_failing_answer_is_a_query_all_the_same():
    critic = Critic(lambda samples: 1 / 0)
    with pytest.raises(CriticError, match="ZeroDivisionError"):
        critic(SAMPLES)
    assert critic.queries == 4


def test_scores_only_counts_and_spends_with_the_critic_it_came_from():
    critic = Critic(total, budget=8)
    critic.scores_only()(SAMPLES)
    critic(SAMPLES)
    assert critic.queries == critic.scores_only().queries == 8
    with pytest.raises(BudgetExceededError):
        critic.scores_only()(SAMPLES)


# Access


def test_the_gradient_passes_where_it_is_granted():
    samples = SAMPLES.clone().requires_grad_()
    Critic(total, chunk_size=3)(samples).sum().backward()
    assert torch.equal(samples.grad, torch.ones_like(SAMPLES))


@pytest.mark.parametrize("access", Access)
def test_scores_only_have_no_graph(access):
    samples = SAMPLES.clone().requires_grad_()
    losses = Critic(total, access=access).scores_only()(samples)
    assert not losses.requires_grad


def test_a_function_cannot_smuggle_a_graph_into_scores():
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)

    @torch.enable_grad()
    def loss(samples):
        return samples @ weight

    assert not Critic(loss, access=Access.SCORES)(SAMPLES).requires_grad


# Chunks and context


@pytest.mark.parametrize(
    ("chunk_size", "sizes"), [(3, [3, 3, 2]), (4, [4, 4]), (8, [8]), (None, [8])]
)
def test_chunks_are_bounded_and_change_nothing(chunk_size, sizes):
    function = Sizes()
    samples = torch.randn(2, 4, 3)
    losses = Critic(function, chunk_size=chunk_size)(samples, num_query_dims=1)
    assert function.seen == sizes
    torch.testing.assert_close(losses, samples.sum(-1))


@pytest.mark.parametrize("chunk_size", [None, 1, 3])
def test_every_sample_meets_the_context_of_its_row(chunk_size):
    labels, reals = torch.arange(4), torch.randn(4, 3)
    samples = torch.randn(2, 5, 4, 3)
    critic = Critic(
        lambda x, label, real: label * (x - real).sum(1),
        context=[labels, reals],
        chunk_size=chunk_size,
    )
    losses = critic(samples, num_query_dims=2)
    torch.testing.assert_close(losses, labels * (samples - reals).sum(-1))


def test_a_context_of_another_batch_is_an_error_before_anything_is_asked():
    critic = Critic(lambda x, label: total(x), context=[torch.arange(3)])
    with pytest.raises(ValueError, match="3 rows for a batch of 4"):
        critic(SAMPLES)
    assert critic.queries == 0


# NumPy


@pytest.mark.parametrize(
    ("dtype", "seen", "answered"),
    [
        (torch.float64, np.float64, torch.float64),
        (torch.float32, np.float32, torch.float32),
        (torch.bfloat16, np.float32, torch.float32),
        (torch.int64, np.int64, torch.float32),
    ],
)
def test_numpy_sees_and_answers_in_a_precision_that_it_has(dtype, seen, answered):
    def loss(samples):
        assert samples.dtype == seen
        return samples.sum(1) / 8

    losses = Critic.from_numpy(loss)(SAMPLES.to(dtype))
    assert losses.dtype == answered
    assert losses.tolist() == [0.375, 1.5, 2.625, 3.75]


def test_a_numpy_function_cannot_write_to_the_samples():
    def loss(samples):
        samples *= 0
        return samples.sum(1)

    samples = SAMPLES.clone()
    Critic.from_numpy(loss)(samples)
    assert torch.equal(samples, SAMPLES)


def test_numpy_answers_may_be_lists_views_and_read_only():
    def read_only(samples):
        losses = samples.sum(1)
        losses.flags.writeable = False
        return losses

    functions = [lambda s: s.sum(1).tolist(), lambda s: s.sum(1)[::-1], read_only]
    for function in functions:
        losses = Critic.from_numpy(function)(SAMPLES)
        assert sorted(losses.tolist()) == SAMPLES.sum(1).tolist()


# Errors


@pytest.mark.parametrize("name", ["budget", "chunk_size"])
@pytest.mark.parametrize("value", [0, -1])
def test_limits_are_at_least_one(name, value):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got {value}"):
        Critic(total, **{name: value})


@pytest.mark.parametrize("access", Access)
@pytest.mark.parametrize(
    "function",
    [lambda x: x, lambda x: x.sum(), lambda x: x.sum(1, keepdim=True), lambda x: 1.0],
    ids=["samples", "scalar", "column", "number"],
)
def test_anything_but_a_loss_per_sample_is_an_error(access, function):
    with pytest.raises(CriticError, match=r"must return a tensor \[4\]"):
        Critic(function, access=access)(SAMPLES)


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (lambda x: None, "4 samples with None"),
        (lambda x: [None] * len(x), "4 samples with an array of object"),
        (lambda x: x.sum(1) + 1j, "4 samples with an array of complex128"),
    ],
)
def test_numpy_answers_with_a_real_number_for_each_sample(loss, told):
    with pytest.raises(CriticError, match=f"^the critic answered {told}.*one loss for"):
        Critic.from_numpy(loss)(SAMPLES)


def test_losses_are_floating_point():
    with pytest.raises(CriticError, match="int64 losses"):
        Critic(lambda x: x.sum(1).long())(SAMPLES)


def test_what_the_function_raised_is_named_and_kept():
    def loss(samples):
        raise OSError("the service is down")

    with pytest.raises(CriticError, match="OSError: the service is down") as caught:
        Critic(loss)(SAMPLES)
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_scores_are_finite(bad):
    critic = Critic(
        lambda x: total(x).index_fill(0, torch.tensor(1), bad)
    ).scores_only()
    with pytest.raises(CriticError, match="1 NaN or infinite losses among 4"):
        critic(SAMPLES)
