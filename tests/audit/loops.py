"""A clean GAN in plain PyTorch, as a user would write it, and its building blocks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gan_gradflow.audit import AuditReport, audit

BATCH, LATENT, EVENT = 32, 6, 8


def reals_like(*event: int, count: int = 3) -> list[Tensor]:
    return [0.5 + 0.7 * torch.randn(BATCH, *event) for _ in range(count)]


def mlp_generator() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(LATENT, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, EVENT)
    )


def mlp_discriminator() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(EVENT, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1), nn.Flatten(0)
    )


@dataclass
class Loop:
    """Two networks, two optimizers, and the two steps of a non-saturating GAN."""

    generator: nn.Module = field(default_factory=mlp_generator)
    discriminator: nn.Module = field(default_factory=mlp_discriminator)
    batches: list[Any] = field(default_factory=lambda: reals_like(EVENT))
    restore: list[Any] = field(default_factory=list)
    strict: bool = False
    discriminator_step: Callable[..., Any] | None = None
    generator_step: Callable[..., Any] | None = None

    def __post_init__(self):
        self.optimizer_d = torch.optim.Adam(self.discriminator.parameters(), lr=1e-3)
        self.optimizer_g = torch.optim.Adam(self.generator.parameters(), lr=1e-3)
        self.discriminator_step = self.discriminator_step or self._discriminator_step
        self.generator_step = self.generator_step or self._generator_step

    def latents(self) -> Tensor:
        return torch.randn(BATCH, LATENT)

    def fakes(self) -> Tensor:
        return self.generator(self.latents())

    def discriminator_loss(self, reals: Tensor, fakes: Tensor) -> Tensor:
        real_scores, fake_scores = self.discriminator(reals), self.discriminator(fakes)
        return softplus(-real_scores).mean() + softplus(fake_scores).mean()

    def generator_loss(self, fakes: Tensor) -> Tensor:
        return softplus(-self.discriminator(fakes)).mean()

    def _discriminator_step(self, reals):
        self.optimizer_d.zero_grad()
        loss = self.discriminator_loss(reals, self.fakes().detach())
        loss.backward()
        self.optimizer_d.step()
        return loss

    def _generator_step(self, reals):
        self.optimizer_g.zero_grad()
        loss = self.generator_loss(self.fakes())
        loss.backward()
        self.optimizer_g.step()
        return loss

    def audit(self) -> AuditReport:
        return audit(
            self.generator,
            self.discriminator,
            self.discriminator_step,
            self.generator_step,
            [self.optimizer_d, self.optimizer_g],
            batches=self.batches,
            restore=self.restore,
            strict=self.strict,
        )
