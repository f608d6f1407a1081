"""Tiny players and a trainer that plays a few rounds with them."""

from pathlib import Path

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ConstantLR

from gan_gradflow.bridges.base import GradientBridge
from gan_gradflow.bridges.baselines import LeaveOneOutBaseline
from gan_gradflow.bridges.directions import GaussianDirections
from gan_gradflow.bridges.draws import AntitheticDraws
from gan_gradflow.bridges.exact import ExactBridge
from gan_gradflow.bridges.finite_difference import FiniteDifferenceBridge
from gan_gradflow.bridges.score_function import ScoreFunctionBridge
from gan_gradflow.channels.base import Channel
from gan_gradflow.channels.identity import IdentityChannel
from gan_gradflow.datamodules.base import Batch
from gan_gradflow.modules.adversarial import AdversarialModule
from gan_gradflow.modules.discriminator import DiscriminatorModule
from gan_gradflow.modules.generator import GeneratorModule
from gan_gradflow.networks.augmentations import NoAugmentation
from gan_gradflow.objectives.nonsaturating import NonsaturatingObjective
from gan_gradflow.objectives.penalties import NoPenalty
from gan_gradflow.types import Access

BRIDGES = {
    "exact": ExactBridge,
    "finite_difference": lambda: FiniteDifferenceBridge(
        GaussianDirections(4), True, 0.1
    ),
    "score_function": lambda: ScoreFunctionBridge(
        8, 0.1, AntitheticDraws(), LeaveOneOutBaseline()
    ),
}


class TinyGenerator(nn.Module):
    """Has batch norm, so there are buffers to be changed by the wrong phase."""

    latent_dim = 3
    event_shape = (4,)

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4)
        )

    def forward(self, latents: Tensor) -> Tensor:
        return self.layers(latents)


class TinyDiscriminator(nn.Module):
    """Has spectral norm, whose vectors are buffers; keeps all that it is shown."""

    def __init__(self) -> None:
        super().__init__()
        first = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 8))
        self.layers = nn.Sequential(first, nn.Tanh(), nn.Linear(8, 1))
        self.seen: list[Tensor] = []

    def forward(self, samples: Tensor) -> Tensor:
        self.seen.append(samples.detach().clone())
        return self.layers(samples).squeeze(-1)


def make_module(
    bridge: GradientBridge | None = None,
    *,
    channel: Channel | None = None,
    generator: nn.Module | None = None,
    discriminator: nn.Module | None = None,
    objective=None,
    n_critic: int = 1,
    seed: int = 1,
    access: Access | None = None,
    budget: int | None = None,
    clip_norm: float | None = None,
    entropy_weight: float = 0.0,
    schedule=None,
    augmentation=None,
    on_nonfinite: str = "stop",
) -> AdversarialModule:
    torch.manual_seed(7)
    schedule = schedule or (lambda optimizer: ConstantLR(optimizer, 1.0, 0))

    def adam(parameters):
        return torch.optim.Adam(parameters, lr=1e-2)

    return AdversarialModule(
        GeneratorModule(
            generator or TinyGenerator(),
            bridge or ExactBridge(),
            channel or IdentityChannel(),
            adam,
            schedule,
            0.9,
            clip_norm,
            entropy_weight,
        ),
        DiscriminatorModule(
            discriminator or TinyDiscriminator(),
            objective or NonsaturatingObjective(),
            NoPenalty(),
            augmentation or NoAugmentation(),
            adam,
            schedule,
            clip_norm,
        ),
        n_critic,
        seed,
        access,
        budget,
        None,
        on_nonfinite,
    )


class TinyData:
    """Iteration t's reals, from t alone."""

    def __init__(self, num_iterations: int, n_critic: int = 1, batch: int = 6) -> None:
        generator = torch.Generator().manual_seed(3)
        shape = (num_iterations, n_critic, batch, 4)
        self.reals = torch.randn(shape, generator=generator)

    def __len__(self) -> int:
        return len(self.reals)

    def __iter__(self):
        return (Batch(reals, None) for reals in self.reals)


def play(
    module: AdversarialModule, num_iterations: int, folder: Path, **settings
) -> L.Trainer:
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=num_iterations,
        default_root_dir=folder,
        logger=settings.pop("logger", False),
        enable_checkpointing=settings.pop("checkpoints", False),
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **settings,
    )
    trainer.fit(module, TinyData(num_iterations, module.n_critic))
    return trainer
