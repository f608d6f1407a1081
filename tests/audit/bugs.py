"""One mistake per function, each a variation of the clean loop in `loops.py`.

`BUGS` maps a function to the violation (or warning) that must name its mistake; no other
violation may be reported, except those listed as consequences.
"""

import copy
from collections.abc import Callable

import torch
from loops import (
    BATCH,
    EVENT,
    LATENT,
    Loop,
    mlp_discriminator,
    mlp_generator,
    reals_like,
)
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.parametrizations import spectral_norm

BUGS: dict[Callable[[], Loop], tuple[str, ...]] = {}


def bug(code: str, *consequences: str):
    def register(make: Callable[[], Loop]) -> Callable[[], Loop]:
        BUGS[make] = (code, *consequences)
        return make

    return register


# ---------------------------------------------------------------- graph and freezing


@bug("missing-detach")
def fakes_are_not_detached() -> Loop:
    loop = Loop()

    def step(reals):
        loop.optimizer_d.zero_grad()
        loss = loop.discriminator_loss(reals, loop.fakes())  # .detach() is missing
        loss.backward()
        loop.optimizer_d.step()
        return loss

    loop.discriminator_step = step
    return loop


@bug("detach-in-generator-step")
def generator_step_detaches() -> Loop:
    loop = Loop()
    loop.generator_loss = lambda fakes: softplus(
        -loop.discriminator(fakes.detach())
    ).mean()
    return loop


@bug("detach-in-generator-step")
def generator_step_detaches_beside_another_loss() -> Loop:
    loop = Loop()
    loop.generator_loss = lambda fakes: (
        fakes.abs().mean() + softplus(-loop.discriminator(fakes.detach())).mean()
    )
    return loop


@bug("detach-in-generator-step")
def generator_step_goes_through_numpy() -> Loop:
    loop = Loop()
    loop.generator_loss = lambda fakes: softplus(
        -loop.discriminator(torch.from_numpy(fakes.detach().numpy()))
    ).mean()
    return loop


@bug("no-grad-around-generator")
def generator_step_under_no_grad() -> Loop:
    loop = Loop()
    loop.fakes = torch.no_grad()(loop.fakes)
    return loop


@bug("no-grad-around-discriminator", "step-raised")
def discriminator_frozen_by_no_grad() -> Loop:
    loop = Loop()

    def generator_loss(fakes):
        with torch.no_grad():
            scores = loop.discriminator(fakes)
        return softplus(-scores).mean()

    loop.generator_loss = generator_loss
    return loop


@bug("generator-breaks-graph")
def generator_emits_data() -> Loop:
    class Emits(nn.Sequential):
        def forward(self, latents):
            return super().forward(latents).data

    return Loop(generator=Emits(*mlp_generator()))


@bug("no-gradient")
def one_layer_is_cut_off() -> Loop:
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(LATENT, 32), nn.Linear(32, EVENT)

        def forward(self, latents):
            return self.second(torch.relu(self.first(latents)).detach())

    return Loop(generator=Cut())


@bug("player-frozen", "step-raised")
def discriminator_never_unfrozen() -> Loop:
    loop = Loop()
    clean = loop.generator_step

    def step(reals):
        loop.discriminator.requires_grad_(False)
        return clean(reals)

    loop.generator_step = step
    return loop


@bug(
    "other-player-updated",
    "optimizer-holds-other-player",
    "optimizer-duplicates-parameters",
)
def discriminator_not_frozen_as_generator_optimizer_holds_it() -> Loop:
    loop = Loop()
    both = [*loop.generator.parameters(), *loop.discriminator.parameters()]
    loop.optimizer_g = torch.optim.Adam(both, lr=1e-3)
    return loop


@bug("other-player-updated", "optimizer-holds-other-player")
def generator_step_steps_both_optimizers() -> Loop:
    loop = Loop()
    clean = loop.generator_step

    def step(reals):
        loop.optimizer_d.zero_grad()
        loss = clean(reals)
        loop.optimizer_d.step()
        return loss

    loop.generator_step = step
    return loop


@bug("no-backward")
def backward_is_forgotten() -> Loop:
    loop = Loop()

    def step(reals):
        loop.optimizer_d.zero_grad()
        loss = loop.discriminator_loss(reals, loop.fakes().detach())
        loop.optimizer_d.step()
        return loss

    loop.discriminator_step = step
    return loop


# ---------------------------------------------------------------- leftovers and updates


def _without_zero_grad(loop: Loop, optimizer: torch.optim.Optimizer, loss) -> Callable:
    def step(reals):
        value = loss(reals)
        value.backward()
        optimizer.step()
        return value

    return step


@bug("gradients-not-zeroed")
def generator_gradients_not_zeroed() -> Loop:
    loop = Loop()
    loop.generator_step = _without_zero_grad(
        loop, loop.optimizer_g, lambda reals: loop.generator_loss(loop.fakes())
    )
    return loop


@bug("gradients-not-zeroed")
def discriminator_gradients_not_zeroed() -> Loop:
    loop = Loop()
    loop.discriminator_step = _without_zero_grad(
        loop,
        loop.optimizer_d,
        lambda reals: loop.discriminator_loss(reals, loop.fakes().detach()),
    )
    return loop


@bug("leftover-from-other-phase")
def discriminator_gradients_zeroed_after_its_step_only() -> Loop:
    loop = Loop()
    inner = _without_zero_grad(
        loop,
        loop.optimizer_d,
        lambda reals: loop.discriminator_loss(reals, loop.fakes().detach()),
    )

    def step(reals):
        loss = inner(reals)
        loop.optimizer_d.zero_grad()
        return loss

    loop.discriminator_step = step
    return loop


@bug("zeroed-before-step")
def gradients_zeroed_after_backward() -> Loop:
    loop = Loop()

    def step(reals):
        loss = loop.generator_loss(loop.fakes())
        loss.backward()
        loop.optimizer_g.zero_grad()
        loop.optimizer_g.step()
        return loss

    loop.generator_step = step
    return loop


@bug("step-before-backward")
def generator_steps_before_backward() -> Loop:
    loop = Loop()

    def step(reals):
        loop.optimizer_g.step()
        loop.optimizer_g.zero_grad()
        loss = loop.generator_loss(loop.fakes())
        loss.backward()
        return loss

    loop.generator_step = step
    return loop


@bug("no-update")
def optimizer_step_is_forgotten() -> Loop:
    loop = Loop()

    def step(reals):
        loop.optimizer_g.zero_grad()
        loss = loop.generator_loss(loop.fakes())
        loss.backward()
        return loss

    loop.generator_step = step
    return loop


@bug(
    "optimizer-holds-other-player",
    "no-update",
    "optimizer-misses-parameters",
    "optimizer-duplicates-parameters",
    "other-player-updated",
)
def generator_optimizer_holds_the_discriminator() -> Loop:
    loop = Loop()
    loop.optimizer_g = torch.optim.Adam(loop.discriminator.parameters(), lr=1e-3)
    return loop


@bug("optimizer-holds-strangers", "no-update", "gradients-not-zeroed")
def generator_rebuilt_after_its_optimizer() -> Loop:
    loop = Loop()
    loop.generator = mlp_generator()
    return loop


@bug("optimizer-misses-parameters")
def optimizer_holds_the_last_layer_only() -> Loop:
    loop = Loop()
    loop.optimizer_g = torch.optim.Adam(loop.generator[3].parameters(), lr=1e-3)
    return loop


@bug("averaging-into-live-weights")
def weight_average_written_into_the_live_weights() -> Loop:
    loop = Loop()
    average = copy.deepcopy(loop.generator)
    clean = loop.generator_step

    @torch.no_grad()
    def update_average():
        for mean, live in zip(
            average.parameters(), loop.generator.parameters(), strict=True
        ):
            live.lerp_(mean, 0.999)  # swapped

    def step(reals):
        loss = clean(reals)
        update_average()
        return loss

    loop.generator_step, loop.restore = step, [average]
    return loop


@bug("weights-changed-outside-optimizer")
def discriminator_reinitialised_in_its_step() -> Loop:
    loop = Loop()
    clean = loop.discriminator_step

    def step(reals):
        loss = clean(reals)
        with torch.no_grad():
            loop.discriminator[2].weight.normal_()
        return loss

    loop.discriminator_step = step
    return loop


# ---------------------------------------------------------------- gradient scaling


def _scaled_step(loop: Loop, before: Callable[[], object]) -> Callable:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    loop.restore.append(scaler)

    def step(reals):
        loop.optimizer_d.zero_grad()
        loss = loop.discriminator_loss(reals, loop.fakes().detach())
        scaler.scale(loss).backward()
        before()
        scaler.step(loop.optimizer_d)
        scaler.update()
        return loss

    return step


@bug("clipped-before-unscaling")
def clipped_before_unscaling() -> Loop:
    loop = Loop()
    loop.discriminator_step = _scaled_step(
        loop, lambda: clip_grad_norm_(loop.discriminator.parameters(), 1.0)
    )
    return loop


@bug("scaled-gradient-stepped")
def scaled_gradient_used_unscaled() -> Loop:
    loop = Loop()

    def step(reals):
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        loop.optimizer_d.zero_grad()
        loss = loop.discriminator_loss(reals, loop.fakes().detach())
        scaler.scale(loss).backward()
        loop.optimizer_d.step()
        return loss

    loop.discriminator_step = step
    return loop


@bug("clipped-after-step")
def clipped_after_the_step() -> Loop:
    loop = Loop()
    clean = loop.discriminator_step

    def step(reals):
        loss = clean(reals)
        clip_grad_norm_(loop.discriminator.parameters(), 0.01)
        return loss

    loop.discriminator_step = step
    return loop


# ---------------------------------------------------------------- direction and scale


@bug("wrong-sign-generator")
def generator_minimises_the_score() -> Loop:
    loop = Loop()
    loop.generator_loss = lambda fakes: softplus(loop.discriminator(fakes)).mean()
    return loop


@bug("wrong-sign-generator")
def wasserstein_generator_without_its_minus() -> Loop:
    loop = Loop()
    loop.discriminator_loss = lambda reals, fakes: (
        loop.discriminator(fakes).mean() - loop.discriminator(reals).mean()
    )
    loop.generator_loss = lambda fakes: loop.discriminator(fakes).mean()
    return loop


@bug("wrong-sign-discriminator")
def discriminator_labels_are_swapped() -> Loop:
    loop = Loop()
    clean = loop.discriminator_loss
    loop.discriminator_loss = lambda reals, fakes: clean(fakes, reals)
    return loop


@bug("wrong-sign-discriminator")
def discriminator_maximises_its_loss() -> Loop:
    loop = Loop()
    loop.optimizer_d = torch.optim.Adam(
        loop.discriminator.parameters(), lr=1e-3, maximize=True
    )
    return loop


@bug("discriminator-blind")
def fakes_are_labelled_real() -> Loop:
    loop = Loop()
    loop.discriminator_loss = lambda reals, fakes: (
        softplus(-loop.discriminator(reals)).mean()
        + softplus(-loop.discriminator(fakes)).mean()
    )
    return loop


@bug("loss-averaged-twice")
def generator_loss_averaged_twice() -> Loop:
    loop = Loop()
    loop.generator_loss = lambda fakes: (
        softplus(-loop.discriminator(fakes)).mean() / len(fakes)
    )
    return loop


@bug("loss-summed")
def discriminator_loss_summed() -> Loop:
    loop = Loop()
    loop.discriminator_loss = lambda reals, fakes: (
        softplus(-loop.discriminator(reals)).sum()
        + softplus(loop.discriminator(fakes)).sum()
    )
    return loop


@bug("sigmoid-twice")
def sigmoid_before_a_loss_on_logits() -> Loop:
    loop = Loop(discriminator=nn.Sequential(*mlp_discriminator(), nn.Sigmoid()))

    def loss(scores, label):
        return binary_cross_entropy_with_logits(scores, torch.full_like(scores, label))

    loop.discriminator_loss = lambda reals, fakes: (
        loss(loop.discriminator(reals), 1.0) + loss(loop.discriminator(fakes), 0.0)
    )
    loop.generator_loss = lambda fakes: loss(loop.discriminator(fakes), 1.0)
    return loop


@bug("first-order-mismatch")
def half_of_the_loss_is_detached() -> Loop:
    loop = Loop()
    clean = loop.discriminator_loss
    loop.discriminator_loss = lambda reals, fakes: (
        clean(reals, fakes) + 3 * clean(reals, fakes).detach()
    )
    return loop


# ---------------------------------------------------------------- penalties


def _with_penalty(penalise: Callable) -> Loop:
    loop = Loop()
    clean = loop.discriminator_loss

    def loss(reals, fakes):
        share = torch.rand(BATCH, 1)
        points = (share * reals + (1 - share) * fakes).requires_grad_()
        return clean(reals, fakes) + penalise(points, loop.discriminator(points).sum())

    loop.discriminator_loss = loss
    return loop


@bug("penalty-without-create-graph")
def gradient_penalty_without_create_graph() -> Loop:
    def penalise(points, score):
        (gradient,) = torch.autograd.grad(score, points, retain_graph=True)
        return 10 * (gradient.norm(dim=1) - 1).square().mean()

    return _with_penalty(penalise)


@bug("penalty-detached")
def gradient_penalty_turned_into_a_number() -> Loop:
    def penalise(points, score):
        (gradient,) = torch.autograd.grad(score, points, create_graph=True)
        return 10 * (gradient.norm(dim=1) - 1).square().mean().item()

    return _with_penalty(penalise)


# ---------------------------------------------------------------- fakes and data


@bug("stale-fakes")
def fakes_computed_once_before_the_loop() -> Loop:
    loop = Loop()
    kept = loop.fakes().detach()

    def step(reals):
        loop.optimizer_d.zero_grad()
        loss = loop.discriminator_loss(reals, kept)
        loss.backward()
        loop.optimizer_d.step()
        return loss

    loop.discriminator_step = step
    return loop


@bug("stale-fakes")
def fakes_kept_from_the_first_iteration() -> Loop:
    loop = Loop()
    kept = []

    def step(reals):
        kept.append(kept[0] if kept else loop.fakes().detach())
        loop.optimizer_d.zero_grad()
        loss = loop.discriminator_loss(reals, kept[-1])
        loss.backward()
        loop.optimizer_d.step()
        return loss

    loop.discriminator_step = step
    return loop


@bug("detach-in-generator-step")
def generator_step_reuses_the_detached_fakes() -> Loop:
    loop = Loop()
    kept = {}

    def discriminator_step(reals):
        kept["fakes"] = loop.fakes().detach()
        loop.optimizer_d.zero_grad()
        loss = loop.discriminator_loss(reals, kept["fakes"])
        loss.backward()
        loop.optimizer_d.step()
        return loss

    def generator_step(reals):
        loop.optimizer_g.zero_grad()
        loss = loop.generator_loss(kept["fakes"])
        loss.backward()
        loop.optimizer_g.step()
        return loss

    loop.discriminator_step, loop.generator_step = discriminator_step, generator_step
    return loop


@bug("graph-reused")
def generator_step_reuses_fakes_without_retaining_their_graph() -> Loop:
    loop = Loop()
    kept = loop.fakes()

    def step(reals):
        loop.optimizer_g.zero_grad()
        loss = loop.generator_loss(kept)
        loss.backward()
        loop.optimizer_g.step()
        return loss

    loop.generator_step = step
    return loop


@bug("latents-not-renewed")
def latents_drawn_once() -> Loop:
    loop = Loop()
    kept = torch.randn(BATCH, LATENT)
    loop.latents = lambda: kept
    return loop


@bug("no-reals")
def reals_are_replaced_by_fakes() -> Loop:
    loop = Loop()
    clean = loop.discriminator_loss
    loop.discriminator_loss = lambda reals, fakes: clean(fakes, fakes)
    return loop


@bug("no-fakes")
def discriminator_sees_noise_instead_of_fakes() -> Loop:
    loop = Loop()
    clean = loop.discriminator_loss
    loop.discriminator_loss = lambda reals, fakes: clean(
        reals, torch.randn(BATCH, EVENT)
    )
    return loop


# ---------------------------------------------------------------- in-place edits


@bug("in-place-edit")
def fakes_clamped_behind_autograd() -> Loop:
    loop = Loop()
    clean = loop.generator_loss

    def loss(fakes):
        fakes.data.clamp_(-0.1, 0.1)
        return clean(fakes)

    loop.generator_loss = loss
    return loop


@bug("in-place-edit")
def tanh_output_clamped_under_no_grad() -> Loop:
    loop = Loop(generator=nn.Sequential(*mlp_generator(), nn.Tanh()))
    clean = loop.generator_loss

    def loss(fakes):
        with torch.no_grad():
            fakes.clamp_(-0.1, 0.1)
        return clean(fakes)

    loop.generator_loss = loss
    return loop


@bug("in-place-edit")
def discriminator_overwrites_its_input() -> Loop:
    return Loop(
        discriminator=nn.Sequential(
            nn.LeakyReLU(0.2, inplace=True), *mlp_discriminator()
        )
    )


@bug("in-place-edit")
def discriminator_updated_between_forward_and_backward() -> Loop:
    loop = Loop()
    kept = {}

    def discriminator_step(reals):
        fakes = loop.fakes()
        kept["loss"] = loop.generator_loss(fakes)  # too early
        loop.optimizer_d.zero_grad()
        loss = loop.discriminator_loss(reals, fakes.detach())
        loss.backward()
        loop.optimizer_d.step()
        return loss

    def generator_step(reals):
        loop.optimizer_g.zero_grad()
        kept["loss"].backward()
        loop.optimizer_g.step()
        return kept["loss"]

    loop.discriminator_step, loop.generator_step = discriminator_step, generator_step
    return loop


# ---------------------------------------------------------------- buffers and modes


def _normed_discriminator() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(EVENT, 32),
        nn.BatchNorm1d(32),
        nn.LeakyReLU(0.2),
        nn.Linear(32, 1),
        nn.Flatten(0),
    )


def _spectral_discriminator() -> nn.Sequential:
    return nn.Sequential(
        spectral_norm(nn.Linear(EVENT, 32)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Linear(32, 1)),
        nn.Flatten(0),
    )


def _modes_swapped(discriminator: nn.Module) -> Loop:
    loop = Loop(discriminator=discriminator)
    in_own, in_other = loop.discriminator_step, loop.generator_step

    def discriminator_step(reals):
        loop.discriminator.eval()
        return in_own(reals)

    def generator_step(reals):
        loop.discriminator.train()
        return in_other(reals)

    loop.discriminator_step, loop.generator_step = discriminator_step, generator_step
    return loop


@bug("buffers-in-wrong-phase", "discriminator-in-eval-mode")
def batch_norm_statistics_learned_in_the_wrong_phase() -> Loop:
    return _modes_swapped(_normed_discriminator())


@bug("buffers-in-wrong-phase", "discriminator-in-eval-mode")
def spectral_norm_vectors_updated_in_the_wrong_phase() -> Loop:
    return _modes_swapped(_spectral_discriminator())


@bug("buffers-in-both-phases")
def batch_norm_not_frozen_with_the_discriminator_strictly() -> Loop:
    loop = Loop(discriminator=_normed_discriminator(), strict=True)
    clean = loop.generator_step

    def step(reals):
        loop.discriminator.requires_grad_(False)
        loss = clean(reals)
        loop.discriminator.requires_grad_(True)
        return loss

    loop.generator_step = step
    return loop


@bug("generator-in-eval-mode")
def generator_left_in_eval_mode() -> Loop:
    loop = Loop()
    loop.generator.eval()
    return loop


# ---------------------------------------------------------------- numbers and failures


@bug("non-finite-gradient", "non-finite-loss")
def loss_divides_by_zero() -> Loop:
    loop = Loop()
    clean = loop.discriminator_loss
    loop.discriminator_loss = lambda reals, fakes: clean(reals, fakes) / 0.0
    return loop


@bug("step-raised")
def latents_have_the_wrong_shape() -> Loop:
    loop = Loop()
    loop.latents = lambda: torch.randn(BATCH, LATENT + 1)
    return loop


@bug("shared-parameters")
def both_players_share_a_layer() -> Loop:
    generator, discriminator = mlp_generator(), mlp_discriminator()
    shared = nn.Linear(EVENT, EVENT)
    return Loop(
        generator=nn.Sequential(*generator, shared),
        discriminator=nn.Sequential(shared, *discriminator),
        batches=reals_like(EVENT),
    )
