"""Loops that are written differently from `loops.py` and are right all the same."""

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
from torch.func import functional_call
from torch.nn.functional import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    l1_loss,
    relu,
    softplus,
)
from torch.nn.utils import clip_grad_norm_
from torch.utils.checkpoint import checkpoint

STYLES: list[Callable[[], Loop]] = []


def style(make: Callable[[], Loop]) -> Callable[[], Loop]:
    STYLES.append(make)
    return make


def _normed_discriminator() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(EVENT, 32),
        nn.BatchNorm1d(32),
        nn.LeakyReLU(0.2),
        nn.Linear(32, 1),
        nn.Flatten(0),
    )


# ---------------------------------------------------------------- where fakes come from


@style
def detach_in_the_discriminator_step() -> Loop:
    return Loop()


@style
def no_grad_in_the_discriminator_step() -> Loop:
    loop = Loop()

    def step(reals):
        loop.optimizer_d.zero_grad()
        with torch.no_grad():
            fakes = loop.fakes()
        loss = loop.discriminator_loss(reals, fakes)
        loss.backward()
        loop.optimizer_d.step()

    loop.discriminator_step = step
    return loop


@style
def one_generator_pass_for_both_steps() -> Loop:
    loop = Loop()
    kept = {}

    def discriminator_step(reals):
        kept["fakes"] = loop.fakes()
        loop.optimizer_d.zero_grad()
        loss = loop.discriminator_loss(reals, kept["fakes"].detach())
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


@style
def generator_first_and_its_fakes_reused() -> Loop:
    loop = Loop()
    kept = {"fakes": loop.fakes().detach()}

    def generator_step(reals):
        fakes = loop.fakes()
        loop.optimizer_g.zero_grad()
        loss = loop.generator_loss(fakes)
        loss.backward()
        loop.optimizer_g.step()
        kept["fakes"] = fakes.detach()
        return loss

    def discriminator_step(reals):
        loop.optimizer_d.zero_grad()
        loss = loop.discriminator_loss(reals, kept["fakes"])
        loss.backward()
        loop.optimizer_d.step()
        return loss

    generator_step(loop.batches[0])
    loop.discriminator_step, loop.generator_step = discriminator_step, generator_step
    return loop


@style
def pool_of_older_fakes() -> Loop:
    loop = Loop()
    pool = []

    def step(reals):
        pool.append(loop.fakes().detach())
        old = pool[0][: BATCH // 2]
        fakes = torch.cat([pool[-1][BATCH // 2 :], old])
        loop.optimizer_d.zero_grad()
        loss = loop.discriminator_loss(reals, fakes)
        loss.backward()
        loop.optimizer_d.step()
        return loss

    loop.discriminator_step = step
    return loop


# ---------------------------------------------------------------- how D is asked


@style
def reals_and_fakes_in_one_batch() -> Loop:
    loop = Loop(discriminator=_normed_discriminator())

    def loss(reals, fakes):
        scores = loop.discriminator(torch.cat([reals, fakes]))
        real_scores, fake_scores = scores.chunk(2)
        return (softplus(-real_scores) + softplus(fake_scores)).mean()

    loop.discriminator_loss = loss
    return loop


@style
def reals_and_fakes_shuffled_together() -> Loop:
    loop = Loop()

    def loss(reals, fakes):
        labels = torch.cat([torch.ones(BATCH), torch.zeros(BATCH)])
        order = torch.randperm(2 * BATCH)
        scores = loop.discriminator(torch.cat([reals, fakes])[order])
        return binary_cross_entropy_with_logits(scores, labels[order])

    loop.discriminator_loss = loss
    return loop


@style
def reals_and_fakes_written_into_a_buffer() -> Loop:
    loop = Loop()

    def loss(reals, fakes):
        both = torch.empty(2 * BATCH, EVENT)
        both[:BATCH], both[BATCH:] = reals, fakes
        scores = loop.discriminator(both)
        return (softplus(-scores[:BATCH]) + softplus(scores[BATCH:])).mean()

    loop.discriminator_loss = loss
    return loop


@style
def both_augmented() -> Loop:
    loop = Loop()
    score = loop.discriminator

    def augmented(samples):
        flipped = torch.where(
            torch.rand(len(samples), 1) < 0.5, samples.flip(1), samples
        )
        return score(flipped + 0.1 * torch.randn_like(samples))

    loop.discriminator_loss = lambda reals, fakes: (
        softplus(-augmented(reals)).mean() + softplus(augmented(fakes)).mean()
    )
    loop.generator_loss = lambda fakes: softplus(-augmented(fakes)).mean()
    return loop


@style
def discriminator_also_classifies() -> Loop:
    class Classifies(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(EVENT, 32)
            self.score, self.classes = nn.Linear(32, 1), nn.Linear(32, 3)

        def forward(self, samples):
            features = relu(self.body(samples))
            return self.score(features), self.classes(features)

    loop = Loop(discriminator=Classifies())
    labels = torch.arange(BATCH) % 3

    def judged(samples, sign):
        scores, logits = loop.discriminator(samples)
        classified = nn.functional.cross_entropy(logits, labels)
        return softplus(sign * scores).mean() + classified

    loop.discriminator_loss = lambda reals, fakes: judged(reals, -1) + judged(fakes, 1)
    loop.generator_loss = lambda fakes: judged(fakes, -1)
    return loop


# ---------------------------------------------------------------- zeroing and freezing


@style
def single_zero_grad_at_the_start() -> Loop:
    loop = Loop()

    def discriminator_step(reals):
        loop.optimizer_d.zero_grad()
        loop.optimizer_g.zero_grad()
        loss = loop.discriminator_loss(reals, loop.fakes().detach())
        loss.backward()
        loop.optimizer_d.step()

    def generator_step(reals):
        loss = loop.generator_loss(loop.fakes())
        loss.backward()
        loop.optimizer_g.step()

    loop.discriminator_step, loop.generator_step = discriminator_step, generator_step
    return loop


@style
def gradients_zeroed_in_place() -> Loop:
    loop = Loop()
    for optimizer in (loop.optimizer_d, loop.optimizer_g):
        zero = optimizer.zero_grad
        optimizer.zero_grad = lambda zero=zero: zero(set_to_none=False)
    return loop


@style
def everything_zeroed_at_the_end() -> Loop:
    loop = Loop()

    def zeroed(loss, optimizer):
        loss.backward()
        optimizer.step()
        loop.optimizer_d.zero_grad()
        loop.optimizer_g.zero_grad()
        return loss

    loop.discriminator_step = lambda reals: zeroed(
        loop.discriminator_loss(reals, loop.fakes().detach()), loop.optimizer_d
    )
    loop.generator_step = lambda reals: zeroed(
        loop.generator_loss(loop.fakes()), loop.optimizer_g
    )
    return loop


@style
def players_frozen_in_turn() -> Loop:
    loop = Loop()
    in_own, in_other = loop.discriminator_step, loop.generator_step

    def train(player, step):
        def run(reals):
            loop.generator.requires_grad_(player is loop.generator)
            loop.discriminator.requires_grad_(player is loop.discriminator)
            return step(reals)

        return run

    loop.discriminator_step = train(loop.discriminator, in_own)
    loop.generator_step = train(loop.generator, in_other)
    loop.discriminator.requires_grad_(False)  # as the last generator step left it
    return loop


@style
def buffers_guarded_strictly() -> Loop:
    loop = Loop(discriminator=_normed_discriminator(), strict=True)
    clean = {"d": loop.discriminator_step, "g": loop.generator_step}

    def guarded(step, network):
        def run(reals):
            kept = [buffer.clone() for buffer in network.buffers()]
            loss = step(reals)
            with torch.no_grad():
                for buffer, value in zip(network.buffers(), kept, strict=True):
                    buffer.copy_(value)
            return loss

        return run

    loop.discriminator_step = guarded(clean["d"], loop.generator)
    loop.generator_step = guarded(clean["g"], loop.discriminator)
    return loop


# ---------------------------------------------------------------- updates


@style
def weight_average_kept_aside() -> Loop:
    loop = Loop()
    average = copy.deepcopy(loop.generator)
    clean = loop.generator_step

    def step(reals):
        loss = clean(reals)
        with torch.no_grad():
            for mean, live in zip(
                average.parameters(), loop.generator.parameters(), strict=True
            ):
                mean.lerp_(live, 0.001)
        return loss

    loop.generator_step, loop.restore = step, [average]
    return loop


@style
def gradient_scaler_with_clipping() -> Loop:
    loop = Loop()
    scaler = torch.amp.GradScaler("cpu")

    def scaled(loss, optimizer, network):
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        clip_grad_norm_(network.parameters(), 0.1)
        scaler.step(optimizer)
        scaler.update()
        return loss

    loop.discriminator_step = lambda reals: scaled(
        loop.discriminator_loss(reals, loop.fakes().detach()),
        loop.optimizer_d,
        loop.discriminator,
    )
    loop.generator_step = lambda reals: scaled(
        loop.generator_loss(loop.fakes()), loop.optimizer_g, loop.generator
    )
    loop.restore = [scaler]
    return loop


@style
def under_bf16_autocast() -> Loop:
    loop = Loop()
    clean = loop.discriminator_loss, loop.generator_loss

    def discriminator_loss(reals, fakes):
        with torch.autocast("cpu", torch.bfloat16):
            return clean[0](reals, fakes)

    def generator_loss(fakes):
        with torch.autocast("cpu", torch.bfloat16):
            return clean[1](fakes)

    loop.discriminator_loss, loop.generator_loss = discriminator_loss, generator_loss
    return loop


@style
def several_critic_updates() -> Loop:
    loop = Loop()
    clean = loop.discriminator_step
    loop.discriminator_step = lambda reals: [clean(reals) for _ in range(5)][-1]
    return loop


@style
def gradients_accumulated_in_a_step() -> Loop:
    loop = Loop()

    def step(reals):
        loop.optimizer_d.zero_grad()
        for part in reals.chunk(4):
            fakes = loop.generator(torch.randn(len(part), LATENT)).detach()
            (loop.discriminator_loss(part, fakes) / 4).backward()
        loop.optimizer_d.step()

    loop.discriminator_step = step
    return loop


@style
def gradients_accumulated_over_calls() -> Loop:
    loop = Loop()
    calls = []

    def step(reals):
        calls.append(None)
        loss = loop.generator_loss(loop.fakes()) / 2
        loss.backward()
        if len(calls) % 2 == 0:
            loop.optimizer_g.step()
            loop.optimizer_g.zero_grad()
        return loss

    loop.generator_step = step
    return loop


@style
def two_optimizers_for_one_player() -> Loop:
    loop = Loop()
    first, last = loop.generator[:3], loop.generator[3:]
    loop.optimizer_g = torch.optim.Adam(first.parameters(), lr=1e-3)
    second = torch.optim.SGD(last.parameters(), lr=1e-3)
    clean = loop.generator_step

    def step(reals):
        second.zero_grad()
        loss = clean(reals)
        second.step()
        return loss

    loop.generator_step = step
    return loop


@style
def plain_sgd_by_hand() -> Loop:
    loop = Loop()

    def step(reals):
        loop.generator.zero_grad()
        loss = loop.generator_loss(loop.fakes())
        loss.backward()
        with torch.no_grad():
            for parameter in loop.generator.parameters():
                parameter -= 1e-2 * parameter.grad
        return loss

    loop.generator_step = step
    return loop


@style
def gradients_from_autograd_grad_put_into_place() -> Loop:
    loop = Loop()

    def step(reals):
        loss = loop.generator_loss(loop.fakes())
        parameters = list(loop.generator.parameters())
        gradients = torch.autograd.grad(loss, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        loop.optimizer_g.step()

    loop.generator_step = step
    return loop


@style
def updates_by_hand_from_autograd_grad() -> Loop:
    loop = Loop()

    def step(reals):
        loss = loop.generator_loss(loop.fakes())
        parameters = list(loop.generator.parameters())
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= 1e-2 * gradient

    loop.generator_step = step
    return loop


@style
def loss_weight_from_gradients_of_the_last_layer() -> Loop:
    loop = Loop()

    def step(reals):
        fakes = loop.fakes()
        content, adversarial = l1_loss(fakes, reals), loop.generator_loss(fakes)
        last = loop.generator[-1].weight
        norms = [
            torch.autograd.grad(loss, last, retain_graph=True)[0].norm()
            for loss in (content, adversarial)
        ]
        loss = content + (norms[0] / norms[1]).detach() * adversarial
        loop.optimizer_g.zero_grad()
        loss.backward()
        loop.optimizer_g.step()
        return loss

    loop.generator_step = step
    return loop


@style
def embeddings_with_sparse_gradients() -> Loop:
    class Looked(nn.Module):
        def __init__(self):
            super().__init__()
            self.classes = nn.Embedding(4, LATENT, sparse=True)
            self.body = mlp_generator()

        def forward(self, latents):
            return self.body(latents + self.classes(torch.arange(len(latents)) % 4))

    loop = Loop(generator=Looked())
    loop.optimizer_g = torch.optim.SGD(loop.generator.parameters(), lr=1e-3)
    return loop


@style
def optimizer_with_a_closure() -> Loop:
    loop = Loop()
    loop.optimizer_g = torch.optim.SGD(loop.generator.parameters(), lr=1e-3)

    def step(reals):
        def closure():
            loop.optimizer_g.zero_grad()
            loss = loop.generator_loss(loop.fakes())
            loss.backward()
            return loss

        return loop.optimizer_g.step(closure)

    loop.generator_step = step
    return loop


@style
def scheduler_and_clipping_in_the_step() -> Loop:
    loop = Loop()
    schedule = torch.optim.lr_scheduler.ExponentialLR(loop.optimizer_g, 0.99)

    def step(reals):
        loop.optimizer_g.zero_grad()
        loss = loop.generator_loss(loop.fakes())
        loss.backward()
        clip_grad_norm_(loop.generator.parameters(), 0.01)
        loop.optimizer_g.step()
        schedule.step()
        return {"loss": loss}

    loop.generator_step, loop.restore = step, [schedule]
    return loop


# ---------------------------------------------------------------- losses


@style
def separate_backwards_as_in_the_dcgan_tutorial() -> Loop:
    loop = Loop(discriminator=nn.Sequential(*_normed_discriminator(), nn.Sigmoid()))
    label = torch.full((BATCH,), 1.0)

    def discriminator_step(reals):
        loop.discriminator.zero_grad()
        error_real = binary_cross_entropy(loop.discriminator(reals), label.fill_(1.0))
        error_real.backward()
        scores = loop.discriminator(loop.fakes().detach())
        error_fake = binary_cross_entropy(scores, label.fill_(0.0))
        error_fake.backward()
        loop.optimizer_d.step()
        return error_real + error_fake

    def generator_step(reals):
        loop.generator.zero_grad()
        error = binary_cross_entropy(loop.discriminator(loop.fakes()), label.fill_(1.0))
        error.backward()
        loop.optimizer_g.step()
        return error

    loop.discriminator_step, loop.generator_step = discriminator_step, generator_step
    return loop


@style
def wasserstein_with_signs_given_to_backward_and_clipped_weights() -> Loop:
    loop = Loop()

    def discriminator_step(reals):
        loop.optimizer_d.zero_grad()
        loop.discriminator(reals).mean().backward(torch.tensor(-1.0))
        loop.discriminator(loop.fakes().detach()).mean().backward(torch.tensor(1.0))
        loop.optimizer_d.step()
        with torch.no_grad():
            for parameter in loop.discriminator.parameters():
                parameter.clamp_(-0.1, 0.1)

    loop.discriminator_step = discriminator_step
    loop.generator_loss = lambda fakes: -loop.discriminator(fakes).mean()
    return loop


@style
def the_original_saturating_loss() -> Loop:
    loop = Loop()
    loop.generator_loss = lambda fakes: -softplus(loop.discriminator(fakes)).mean()
    return loop


@style
def the_discriminator_ascends_its_reward() -> Loop:
    loop = Loop()
    clean = loop.discriminator_loss
    loop.optimizer_d = torch.optim.Adam(
        loop.discriminator.parameters(), lr=1e-3, maximize=True
    )
    loop.discriminator_loss = lambda reals, fakes: -clean(reals, fakes)
    return loop


@style
def energy_based_with_low_scores_for_reals() -> Loop:
    loop = Loop()
    loop.discriminator_loss = lambda reals, fakes: (
        softplus(loop.discriminator(reals)) + softplus(-loop.discriminator(fakes))
    ).mean()
    loop.generator_loss = lambda fakes: softplus(loop.discriminator(fakes)).mean()
    return loop


@style
def image_to_image_with_a_small_adversarial_weight() -> Loop:
    generator = nn.Sequential(nn.Linear(EVENT, 32), nn.ReLU(), nn.Linear(32, EVENT))
    pairs = list(zip(reals_like(EVENT), reals_like(EVENT), strict=True))
    loop = Loop(generator=generator, batches=pairs)

    def discriminator_step(inputs, targets):
        loop.optimizer_d.zero_grad()
        loss = loop.discriminator_loss(targets, loop.generator(inputs).detach())
        loss.backward()
        loop.optimizer_d.step()

    def generator_step(inputs, targets):
        loop.optimizer_g.zero_grad()
        outputs = loop.generator(inputs)
        loss = l1_loss(outputs, targets) + 0.02 * loop.generator_loss(outputs)
        loss.backward()
        loop.optimizer_g.step()

    loop.discriminator_step, loop.generator_step = discriminator_step, generator_step
    return loop


@style
def penalty_every_fourth_update() -> Loop:
    loop = Loop()
    clean = loop.discriminator_loss
    calls = []

    def loss(reals, fakes):
        calls.append(None)
        if len(calls) % 4:
            return clean(reals, fakes)
        reals = reals.requires_grad_()
        score = loop.discriminator(reals).sum()
        (gradient,) = torch.autograd.grad(score, reals, create_graph=True)
        return clean(reals, fakes) + 5 * gradient.square().sum(1).mean()

    loop.discriminator_loss = loss
    return loop


@style
def input_gradient_logged_without_a_graph() -> Loop:
    loop = Loop()
    clean, log = loop.discriminator_loss, []

    def loss(reals, fakes):
        reals = reals.requires_grad_()
        (gradient,) = torch.autograd.grad(loop.discriminator(reals).sum(), reals)
        log.append(gradient.norm())
        return clean(reals, fakes)

    loop.discriminator_loss = loss
    return loop


@style
def samples_from_a_distribution() -> Loop:
    class Stochastic(nn.Module):
        def __init__(self):
            super().__init__()
            self.mean, self.scale = mlp_generator(), nn.Parameter(torch.zeros(EVENT))

        def forward(self, latents):
            return torch.distributions.Normal(self.mean(latents), self.scale.exp())

    loop = Loop(generator=Stochastic())
    loop.fakes = lambda: loop.generator(loop.latents()).rsample()
    return loop


@style
def steps_draw_their_own_data() -> Loop:
    loop = Loop(discriminator=mlp_discriminator(), batches=[])
    data = iter(reals_like(EVENT, count=1000))
    clean = loop.discriminator_step, loop.generator_step
    loop.discriminator_step = lambda: clean[0](next(data))
    loop.generator_step = lambda: clean[1](None)
    return loop


# ---------------------------------------------------------------- how networks run


@style
def compiled_networks() -> Loop:
    compiled = [
        torch.compile(network, backend="eager")
        for network in (mlp_generator(), mlp_discriminator())
    ]
    return Loop(*compiled)


@style
def recomputed_activations() -> Loop:
    class Recomputed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp_discriminator()

        def forward(self, samples):
            return checkpoint(self.body, samples, use_reentrant=False)

    return Loop(discriminator=Recomputed())


@style
def discriminator_called_as_a_function_of_its_parameters() -> Loop:
    loop = Loop()
    parameters = dict(loop.discriminator.named_parameters())
    loop.generator_loss = lambda fakes: softplus(
        -functional_call(loop.discriminator, parameters, (fakes,))
    ).mean()
    return loop
