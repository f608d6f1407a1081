"""Tiny pairs of networks of the kinds that GANs are built of."""

from collections.abc import Callable

import torch
from loops import EVENT, LATENT, mlp_discriminator, mlp_generator, reals_like
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.nn.utils import spectral_norm as old_spectral_norm
from torch.nn.utils.parametrizations import spectral_norm

IMAGE = (1, 8, 8)
NUM_CLASSES = 3

Pair = tuple[nn.Module, nn.Module, tuple[int, ...]]


def mlp() -> Pair:
    return mlp_generator(), mlp_discriminator(), (EVENT,)


def _dcgan(normalise: Callable[[int], nn.Module]) -> Pair:
    generator = nn.Sequential(
        nn.Unflatten(1, (LATENT, 1, 1)),
        nn.ConvTranspose2d(LATENT, 16, 4, bias=False),
        normalise(16),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 1, 4, 2, 1),
        nn.Tanh(),
    )
    discriminator = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(16, 16, 3, 1, 1),
        nn.Identity(),
        nn.LeakyReLU(0.2),
        nn.Conv2d(16, 1, 4),
        nn.Flatten(0),
    )
    return generator, discriminator, IMAGE


def dcgan_with_batch_norm() -> Pair:
    generator, discriminator, event = _dcgan(nn.BatchNorm2d)
    discriminator[3] = nn.BatchNorm2d(16)
    return generator, discriminator, event


def _constrained(wrap: Callable[[nn.Module], nn.Module]) -> Pair:
    generator, discriminator, event = _dcgan(nn.BatchNorm2d)
    for index in (0, 2, 5):
        discriminator[index] = wrap(discriminator[index])
    return generator, discriminator, event


def spectral_normed() -> Pair:
    return _constrained(spectral_norm)


def old_spectral_normed() -> Pair:
    return _constrained(old_spectral_norm)


def group_normed() -> Pair:
    generator, discriminator, event = _dcgan(lambda channels: nn.GroupNorm(4, channels))
    discriminator[3] = nn.GroupNorm(4, 16)
    return generator, discriminator, event


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + self.second(relu(self.first(relu(inputs))))


def residual() -> Pair:
    generator = nn.Sequential(
        nn.Linear(LATENT, 32), _Residual(32), _Residual(32), nn.Linear(32, EVENT)
    )
    discriminator = nn.Sequential(
        nn.Linear(EVENT, 32), _Residual(32), _Residual(32), nn.Linear(32, 1)
    )
    return generator, discriminator, (EVENT,)


class _Conditional(nn.Module):
    """Embeds a class that follows from the sample or the latents, to stay one-input."""

    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        self.classes = nn.Embedding(NUM_CLASSES, 8)
        self.body = nn.Sequential(
            nn.Linear(num_inputs + 8, 32), nn.LeakyReLU(0.2), nn.Linear(32, num_outputs)
        )

    def forward(self, inputs: Tensor, labels: Tensor | None = None) -> Tensor:
        if labels is None:
            labels = torch.arange(len(inputs)) % NUM_CLASSES
        return self.body(torch.cat([inputs, self.classes(labels)], 1))


def conditional() -> Pair:
    return _Conditional(LATENT, EVENT), _Conditional(EVENT, 1), (EVENT,)


def dropout() -> Pair:
    generator = nn.Sequential(
        nn.Linear(LATENT, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, EVENT)
    )
    discriminator = nn.Sequential(
        nn.Linear(EVENT, 32), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(32, 1)
    )
    return generator, discriminator, (EVENT,)


def layer_normed_with_noise_inside() -> Pair:
    class Noise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.strength = nn.Parameter(torch.tensor(0.1))

        def forward(self, inputs: Tensor) -> Tensor:
            return inputs + self.strength * torch.randn_like(inputs)

    generator = nn.Sequential(
        nn.Linear(LATENT, 32),
        Noise(),
        nn.LayerNorm(32),
        nn.SiLU(),
        nn.Linear(32, EVENT),
    )
    return generator, mlp_discriminator(), (EVENT,)


def patch_discriminator() -> Pair:
    generator, _, event = _dcgan(nn.InstanceNorm2d)
    discriminator = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 1, 3, 1, 1)
    )
    return generator, discriminator, event


ARCHITECTURES = (
    mlp,
    dcgan_with_batch_norm,
    spectral_normed,
    old_spectral_normed,
    group_normed,
    residual,
    conditional,
    dropout,
    layer_normed_with_noise_inside,
    patch_discriminator,
)


def batches_for(event: tuple[int, ...]) -> list[Tensor]:
    return [reals.clamp(-1, 1) for reals in reals_like(*event)]
