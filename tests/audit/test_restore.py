"""An audit leaves no trace on what it ran."""

import random

import numpy as np
import pytest
import torch
from bugs import BUGS
from loops import BATCH, EVENT, LATENT, Loop, mlp_discriminator
from torch import nn

from gan_gradflow.audit import audit
from gan_gradflow.audit.players import Players
from gan_gradflow.audit.state import Snapshot


def warmed_up() -> Loop:
    discriminator = nn.Sequential(nn.Linear(EVENT, EVENT), nn.BatchNorm1d(EVENT))
    loop = Loop(discriminator=nn.Sequential(*discriminator, *mlp_discriminator()))
    for reals in loop.batches:
        loop.discriminator_step(reals)
        loop.generator_step(reals)
    loop.discriminator[0].requires_grad_(False)
    loop.generator[1].eval()
    return loop


def state_of(loop: Loop) -> list:
    players = (loop.generator, loop.discriminator)
    parameters = [p for player in players for p in player.parameters()]
    return [
        [value.clone() for player in players for value in player.state_dict().values()],
        [p.grad if p.grad is None else p.grad.clone() for p in parameters],
        [p.requires_grad for p in parameters],
        [module.training for player in players for module in player.modules()],
        [
            value.clone()
            for optimizer in (loop.optimizer_d, loop.optimizer_g)
            for entries in optimizer.state_dict()["state"].values()
            for value in entries.values()
        ],
    ]


def test_networks_gradients_flags_modes_and_optimizers_are_put_back():
    loop = warmed_up()
    before = state_of(loop)
    loop.audit()
    torch.testing.assert_close(state_of(loop), before, rtol=0, atol=0)


def test_gradients_are_put_back_as_the_same_tensors():
    loop = warmed_up()
    before = [id(p.grad) for p in loop.generator.parameters()]
    loop.audit()
    assert [id(p.grad) for p in loop.generator.parameters()] == before


def test_the_random_numbers_that_follow_are_the_same():
    loop = Loop()
    snapshot = Snapshot(Players(loop.generator, loop.discriminator))
    drawn = []
    for _ in range(2):  # the type checker of the tests draws from random as well
        snapshot.restore()
        drawn.append([torch.rand(1).item(), random.random(), np.random.rand()])  # noqa: NPY002
    assert drawn[0] == drawn[1]


def test_the_audit_does_not_advance_torch():
    loop = Loop()
    state = torch.get_rng_state()
    loop.audit()
    assert torch.equal(torch.get_rng_state(), state)


def test_training_goes_on_as_if_there_had_been_no_audit():
    losses = []
    for audited in (False, True):
        torch.manual_seed(5)
        loop = warmed_up()
        if audited:
            loop.audit()
        losses += [loop.generator_step(loop.batches[0]).item() for _ in range(3)]
    assert losses[:3] == losses[3:]


def test_no_hook_is_left_behind():
    loop = Loop()
    loop.audit()
    for module in (*loop.generator.modules(), *loop.discriminator.modules()):
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    for parameter in loop.generator.parameters():
        assert not parameter._backward_hooks
        assert not parameter._post_accumulate_grad_hooks


def test_optimizers_that_were_not_named_are_put_back_too():
    loop = Loop()
    audit(
        loop.generator,
        loop.discriminator,
        loop.discriminator_step,
        loop.generator_step,
        batches=loop.batches,
    )
    assert not loop.optimizer_d.state
    assert not loop.optimizer_g.state


def test_objects_to_restore_are_put_back():
    loop = Loop()
    average, noise = nn.Linear(2, 2), torch.Generator().manual_seed(1)
    before = average.weight.clone(), noise.get_state()
    clean = loop.generator_step

    def step(reals):
        average.weight.data.add_(torch.rand((), generator=noise))
        return clean(reals)

    loop.generator_step, loop.restore = step, [average, noise]
    loop.audit()
    assert torch.equal(average.weight, before[0])
    assert torch.equal(noise.get_state(), before[1])


def test_what_has_no_state_cannot_be_restored():
    loop = Loop()
    loop.restore = [object()]
    with pytest.raises(ValueError, match="state_dict"):
        loop.audit()


@pytest.mark.parametrize("make", list(BUGS)[::6], ids=lambda make: make.__name__)
def test_a_loop_with_a_mistake_is_put_back_as_well(make):
    loop = make()
    before = state_of(loop)
    loop.audit()
    torch.testing.assert_close(state_of(loop), before, rtol=0, atol=0, equal_nan=True)


def test_the_batches_are_not_changed():
    loop = Loop()
    batch = loop.batches[0].clone()
    loop.discriminator_step = lambda reals: reals.zero_()
    loop.audit()
    assert torch.equal(loop.batches[0], batch)


def test_the_latents_of_an_iteration_do_not_depend_on_the_audit():
    loop, drawn = Loop(), []
    loop.latents = lambda: drawn.append(torch.randn(BATCH, LATENT)) or drawn[-1]
    torch.manual_seed(11)
    loop.audit()
    torch.manual_seed(11)
    assert torch.equal(torch.randn(BATCH, LATENT), drawn[0])
