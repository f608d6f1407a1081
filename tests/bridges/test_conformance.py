"""What every bridge promises, read from its traits; nothing is skipped by name."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conformance import (
    BATCH,
    DIM,
    VARIANTS,
    Oracle,
    Poison,
    arguments,
    build,
    composed,
    emission,
    every_bridge,
    gradient_of_what_is_seen,
    name,
    targets,
)
from problems import Linear, Separable, pull
from torch.distributions import Normal

from gan_gradflow.critic import BudgetExceededError, Critic, CriticError
from gan_gradflow.types import Access

SEEDS = range(100)


def critic_for(bridge, function=None, **options):
    """A critic that grants what the bridge needs and no more."""
    access = bridge.traits.access
    return Critic(function or Linear(), access=access, **options)


def refuses(bridge, dim):
    try:
        bridge.queries_per_sample(dim)
    except ValueError:
        return True
    return False


# Configuration


@every_bridge
def test_every_argument_is_written_out_in_its_yaml(variant):
    for config, constructor in targets(composed(variant)):
        names, defaults = arguments(constructor)
        assert names == {str(key) for key in config} - {"_target_"}
        assert not defaults


@every_bridge
def test_the_traits_are_complete(variant):
    traits = build(variant).traits
    for promise in ("choose_when", "unbiased_for", "queries", "crosses", "returns"):
        assert getattr(traits, promise).strip()


@every_bridge
def test_state_survives_a_checkpoint(variant):
    first, second = build(variant), build(variant)
    pull(first.train(), critic_for(first), emission())
    first.eval()
    second.load_state_dict(first.state_dict())
    found = pull(second, critic_for(second), emission(), seed=1)
    torch.testing.assert_close(
        found, pull(first, critic_for(first), emission(), seed=1)
    )


# Value and gradient


@every_bridge
def test_there_is_one_loss_for_each_sample(variant):
    bridge = build(variant)
    losses, _ = pull(bridge, critic_for(bridge), emission())
    assert losses.shape == (BATCH,)
    assert losses.isfinite().all()


@every_bridge
def test_the_value_is_the_critics_loss(variant):
    # Where the value is a mean over draws: six standard errors over 100 calls.
    bridge, x = build(variant), emission()
    expected = Linear()(x if bridge.traits.stand_ins else bridge.exposed(x))
    seeds = SEEDS[:2] if bridge.traits.deterministic else SEEDS
    losses = torch.stack([pull(bridge, critic_for(bridge), x, s)[0] for s in seeds])
    if bridge.traits.stand_ins:
        losses, expected = losses.mean(1), expected.mean()
    error = 6 * losses.std(0) / len(seeds) ** 0.5 + 1e-7 * (1 + expected.abs())
    assert ((losses.mean(0) - expected).abs() <= error).all()


@every_bridge
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_pull_has_the_emissions_shape_and_dtype(variant, dtype):
    bridge, x = build(variant), emission(dtype=dtype)
    _, found = pull(bridge, critic_for(bridge), x)
    assert found.shape == x.shape
    assert found.dtype == dtype
    assert found.isfinite().all()


@every_bridge
@pytest.mark.parametrize(
    ("dtype", "rounding"),
    [(torch.float64, 1e-6), (torch.float32, 1e-3), (torch.bfloat16, 0.02)],
)
def test_the_mean_pull_is_the_gradient(variant, dtype, rounding):
    # Six standard errors over 100 calls: chance to fail a right bridge 2e-7. An error of
    # 8 % in the scale (12 % in bfloat16) is caught with the same certainty.
    bridge, x = build(variant), emission(batch=512, dtype=dtype)
    if bridge.traits.unbiased_for.endswith("O(step)"):
        rounding += bridge.step_for(x)
    truth = gradient_of_what_is_seen(bridge, Separable(), x)
    critic = critic_for(bridge, Separable())
    seeds = SEEDS[:2] if bridge.traits.deterministic else SEEDS
    pulls = [pull(bridge, critic, x, seed)[1].double() for seed in seeds]
    means = torch.stack([(found - truth).mean(0) for found in pulls])
    scales = torch.stack(
        [(found * truth).sum() / truth.square().sum() for found in pulls]
    )
    error = 6 * means.std(0) / len(seeds) ** 0.5 + rounding * truth.norm(dim=1).mean()
    assert (means.mean(0).abs() <= error).all()
    error = 6 * scales.std() / len(seeds) ** 0.5 + rounding
    assert error < 0.04 + rounding
    assert (scales.mean() - 1).abs() <= error


@every_bridge
def test_the_pull_survives_autocast(variant):
    bridge, x = build(variant), emission(batch=4000, dtype=torch.float32)
    truth = gradient_of_what_is_seen(bridge, Linear(), x)
    critic = critic_for(bridge, lambda x: x @ Linear().weight(x))
    with torch.autocast("cpu", torch.bfloat16):
        _, found = pull(bridge, critic, x)
    assert found.dtype == torch.float32
    # Standard error 1.2 % at most, rounding 1 %: an error of 16 % is caught.
    assert ((found * truth).sum() / truth.square().sum() - 1).abs() < 0.08


@every_bridge
def test_scaling_the_losses_scales_the_pull(variant):
    bridge, x = build(variant), emission().requires_grad_()
    _, full = pull(bridge, critic_for(bridge), x)
    torch.manual_seed(0)
    (mean,) = torch.autograd.grad(bridge(critic_for(bridge), x).mean(), x)
    torch.testing.assert_close(mean, full / BATCH)


@every_bridge
def test_a_weight_on_a_loss_is_a_weight_on_its_samples_pull(variant):
    bridge, x = build(variant), emission().requires_grad_()
    weights = torch.linspace(0, 1, BATCH, dtype=x.dtype)
    _, full = pull(bridge, critic_for(bridge), x)
    torch.manual_seed(0)
    losses = bridge(critic_for(bridge), x)
    (weighted,) = torch.autograd.grad((weights * losses).sum(), x)
    alone = torch.allclose(weighted, weights.unsqueeze(1) * full)
    assert alone is not bridge.traits.stand_ins


@every_bridge
def test_any_event_shape_is_a_vector_to_the_bridge(variant):
    for event in [(3,), (2, 3, 4)]:
        x = emission(*event, batch=32)
        bridge = build(variant)
        if refuses(bridge, x[0].numel()):
            with pytest.raises(ValueError, match="at most"):
                pull(bridge, critic_for(bridge), x)
            continue
        losses, found = pull(bridge, critic_for(bridge), x)
        flat_losses, flat = pull(bridge, critic_for(bridge), x.flatten(1))
        torch.testing.assert_close(losses, flat_losses)
        torch.testing.assert_close(found, flat.view_as(x))


@every_bridge
def test_samples_may_be_single_numbers(variant):
    x = emission(1, batch=32)[:, 0]
    bridge = build(variant)
    if refuses(bridge, 1):
        with pytest.raises(ValueError, match="at most"):
            bridge(critic_for(bridge, lambda x: 2 * x), x)
        return
    losses, found = pull(bridge, critic_for(bridge, lambda x: 2 * x), x)
    assert losses.shape == found.shape == x.shape


@every_bridge
def test_an_emission_without_a_graph_still_has_losses(variant):
    bridge, x = build(variant), emission()
    expected, _ = pull(bridge, critic_for(bridge), x)
    torch.manual_seed(0)
    losses = bridge(critic_for(bridge), x)
    assert not losses.requires_grad
    torch.testing.assert_close(losses, expected)


@every_bridge
def test_the_emission_is_left_as_it_is(variant):
    bridge, x = build(variant), emission()
    bridge(critic_for(bridge), x)
    assert torch.equal(x, emission())


# Chance


@every_bridge
def test_chance_follows_the_seed(variant):
    bridge, x = build(variant), emission()
    first = pull(bridge, critic_for(bridge), x, seed=1)
    again = pull(bridge, critic_for(bridge), x, seed=1)
    torch.testing.assert_close(again, first, rtol=0, atol=0)


@every_bridge
def test_only_a_deterministic_bridge_repeats_itself_under_another_seed(variant):
    bridge, x = build(variant), emission()
    seen = [Oracle(Linear()) for _ in range(2)]
    for seed, oracle in enumerate(seen):
        pull(bridge, critic_for(bridge, oracle), x, seed)
    same = all(torch.equal(a, b) for a, b in zip(*(o.seen for o in seen), strict=True))
    assert same is bridge.traits.deterministic


@every_bridge
def test_every_sample_has_noise_of_its_own(variant):
    bridge = build(variant)
    x = emission()[:1].expand(BATCH, DIM)
    _, found = pull(bridge, critic_for(bridge), x)
    distinct = 1 if bridge.traits.deterministic or bridge.traits.stand_ins else BATCH
    assert len(found.unique(dim=0)) == distinct


@every_bridge
def test_other_samples_do_not_change_a_samples_pull(variant):
    bridge, x = build(variant), emission()
    others = torch.cat([x[:1], x[1:] + 1])
    critic = critic_for(bridge, lambda x: x.sin().sum(1))
    _, found = pull(bridge, critic, x)
    _, beside = pull(bridge, critic, others)
    alone = torch.allclose(found[0], beside[0])
    assert alone is not bridge.traits.stand_ins


@every_bridge
def test_shuffling_the_batch_shuffles_the_pull(variant):
    bridge, x = build(variant), emission()
    order = torch.arange(BATCH - 1, -1, -1)
    if not bridge.traits.deterministic:
        # Noise belongs to a row of the batch: shuffle equal samples, and nothing changes.
        x = x[:1].expand(BATCH, DIM)
    _, found = pull(bridge, critic_for(bridge, Separable()), x)
    _, shuffled = pull(bridge, critic_for(bridge, Separable()), x[order])
    expected = found[order] if bridge.traits.deterministic else found
    torch.testing.assert_close(shuffled, expected)


# Access and queries


@every_bridge
def test_the_critic_is_differentiated_only_where_the_traits_say_so(variant):
    bridge = build(variant)
    poison = Critic(lambda x: Poison.apply(Linear()(x)))
    if bridge.traits.access is Access.SCORES:
        assert pull(bridge, poison, emission())[1].any()
    else:
        with pytest.raises(AssertionError, match="differentiated"):
            pull(bridge, poison, emission())


@every_bridge
def test_scores_carry_no_graph_even_from_a_critic_that_would_grant_it(variant):
    bridge = build(variant)
    weight = torch.ones(DIM, dtype=torch.float64, requires_grad=True)
    oracle = Oracle(lambda x: x @ weight)
    losses = bridge(Critic(oracle), emission().requires_grad_())
    losses.sum().backward()
    differentiated = bridge.traits.access is Access.GRADIENT
    assert any(samples.requires_grad for samples in oracle.seen) is differentiated
    assert (weight.grad is not None) is differentiated


@every_bridge
def test_a_numpy_function_is_critic_enough_for_scores(variant):
    bridge = build(variant)
    weight = np.arange(1.0, DIM + 1)
    critic = Critic.from_numpy(lambda samples: samples @ weight)
    if bridge.traits.access is Access.SCORES:
        found = pull(bridge, critic, emission())
        torch.testing.assert_close(found, pull(bridge, Critic(Linear()), emission()))
    else:
        with pytest.raises(ValueError, match="scores only"):
            bridge(critic, emission())
        assert critic.queries == 0


@every_bridge
def test_queries_are_as_many_as_predicted_counted_and_seen(variant):
    bridge, oracle = build(variant), Oracle(Linear())
    critic = critic_for(bridge, oracle)
    pull(bridge, critic, emission())
    predicted = bridge.queries_per_sample(DIM) * BATCH
    assert critic.queries == oracle.queries == predicted


@every_bridge
def test_a_budget_is_enough_or_nothing_beyond_it_is_asked(variant):
    bridge, oracle = build(variant), Oracle(Linear())
    needed = bridge.queries_per_sample(DIM) * BATCH
    pull(bridge, critic_for(bridge, budget=needed), emission())
    critic = critic_for(bridge, oracle, budget=needed - 1)
    with pytest.raises(BudgetExceededError, match=f"budget of {needed - 1}"):
        pull(bridge, critic, emission())
    assert critic.queries == oracle.queries <= needed - 1


@every_bridge
@pytest.mark.parametrize("chunk_size", [1, 3, 1000])
def test_chunks_change_nothing(variant, chunk_size):
    bridge, oracle = build(variant), Oracle(Separable())
    expected = pull(bridge, critic_for(bridge, Separable()), emission())
    critic = critic_for(bridge, oracle, chunk_size=chunk_size)
    torch.testing.assert_close(pull(bridge, critic, emission()), expected)
    assert max(len(samples) for samples in oracle.seen) <= chunk_size


@every_bridge
def test_every_query_meets_the_context_of_its_row(variant):
    bridge, row = build(variant), torch.arange(BATCH, dtype=torch.float64)
    critic = critic_for(bridge, lambda x, row: row + 0 * x.sum(1), context=[row])
    losses, _ = pull(bridge, critic, emission())
    torch.testing.assert_close(losses, row)


@every_bridge
def test_what_the_discriminator_sees_has_no_graph(variant):
    exposed = build(variant).exposed(emission().requires_grad_())
    assert exposed.shape == (BATCH, DIM)
    assert exposed.isfinite().all()
    assert not exposed.requires_grad


# Transformations


@every_bridge
def test_a_second_derivative_is_right_or_refused(variant):
    bridge, root = build(variant), emission().abs().sqrt().requires_grad_()
    _, expected = pull(bridge, critic_for(bridge), root**2)
    torch.manual_seed(0)
    losses = bridge(critic_for(bridge), root**2)
    (first,) = torch.autograd.grad(losses.sum(), root, create_graph=True)
    try:
        (second,) = torch.autograd.grad(first.sum(), root)
    except RuntimeError as error:
        second = str(error)
    if isinstance(second, str):
        assert "first derivative only" in second
    else:
        torch.testing.assert_close(second, 2 * expected)


@every_bridge
def test_functional_gradients_are_the_backward_ones(variant):
    bridge, critic = build(variant), critic_for(build(variant), Separable())
    _, expected = pull(bridge, critic, emission())
    torch.manual_seed(0)
    found = torch.func.grad(lambda x: bridge(critic, x).sum())(emission())
    torch.testing.assert_close(found, expected)


@pytest.mark.slow
def test_compiling_changes_nothing():
    script = Path(__file__).with_name("compiled.py")
    command = [sys.executable, script, "any_graphs", *map(name, VARIANTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


# Errors


@every_bridge
def test_integers_are_no_emission(variant):
    bridge = build(variant)
    with pytest.raises(TypeError, match="floating-point"):
        bridge(critic_for(bridge), torch.ones(BATCH, DIM, dtype=torch.int64))


@every_bridge
@pytest.mark.parametrize("shape", [(), (0,), (0, DIM), (BATCH, 0)])
def test_an_emission_without_samples_is_an_error(variant, shape):
    bridge, oracle = build(variant), Oracle(Linear())
    with pytest.raises(ValueError, match=r"must be \[batch, \*event\]"):
        bridge(critic_for(bridge, oracle), torch.ones(shape))
    assert oracle.queries == 0


@every_bridge
@pytest.mark.parametrize("shape", [(), (0,), (BATCH, DIM)])
def test_a_distribution_has_one_entry_for_each_sample(variant, shape):
    bridge = build(variant)
    with pytest.raises(ValueError, match="Independent"):
        bridge(critic_for(bridge), Normal(torch.zeros(shape), 1.0))


@every_bridge
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x, r"must return a tensor \[\d+\]"),
        (lambda x: x.sum(), r"must return a tensor \[\d+\]"),
        (lambda x: x.sum(1, keepdim=True), r"must return a tensor \[\d+\]"),
        (lambda x: 0.0, r"must return a tensor \[\d+\]"),
        (lambda x: x.sum(1).long(), "floating point"),
        (lambda x: 1 / 0, "ZeroDivisionError"),
    ],
    ids=["samples", "scalar", "column", "number", "integers", "raises"],
)
def test_a_critic_without_a_loss_per_sample_is_an_error(variant, function, message):
    bridge = build(variant)
    with pytest.raises(CriticError, match=message):
        bridge(critic_for(bridge, function), emission())


@every_bridge
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_an_error(variant, bad):
    bridge = build(variant)
    critic = critic_for(bridge, lambda x: x.sum(1) * bad)
    if bridge.traits.access is Access.SCORES:
        with pytest.raises(CriticError, match="NaN or infinite"):
            bridge(critic, emission())
    else:
        assert not bridge(critic, emission()).isfinite().any()
