"""The discriminator: its network, its objective with a penalty, and its optimizer."""

from collections.abc import Callable, Iterable

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from gan_gradflow.modules.generator import check_clip_norm
from gan_gradflow.objectives.base import Objective
from gan_gradflow.objectives.penalties import Penalty


class DiscriminatorModule(L.LightningModule):
    """Scores samples. Passive: `AdversarialModule` trains it.

    Args:
        network: maps samples `[n, *event]` to scores `[n]`, higher for reals.
        objective: the pair of losses.
        penalty: added to the discriminator's loss.
        optimizer: makes the optimizer of the network's parameters.
        clip_norm: the parameter gradient is scaled down to this norm; None leaves it.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        penalty: Penalty,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        clip_norm: float | None,
    ) -> None:
        super().__init__()
        check_clip_norm(clip_norm)
        self.network = network
        self.objective = objective
        self.penalty = penalty
        self.make_optimizer = optimizer
        self.clip_norm = clip_norm

    def forward(self, samples: Float[Tensor, "n *event"]) -> Float[Tensor, " n"]:
        """The score of each sample, in float32 at least: bf16 has no room for losses."""
        scores = self.network(samples)
        return scores.to(torch.promote_types(scores.dtype, torch.float32))

    def learning(self) -> list[nn.Parameter]:
        """The parameters that the discriminator's optimizer updates."""
        return list(self.network.parameters())

    def configure_optimizers(self) -> Optimizer:
        """The optimizer of the network."""
        return self.make_optimizer(self.learning())

    def loss(
        self, reals: Float[Tensor, "batch *event"], fakes: Float[Tensor, "batch *event"]
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The discriminator's loss on reals and exposed fakes, and scalars to log."""
        reals = reals.detach().requires_grad_(self.penalty.on_reals)
        fakes = fakes.detach().requires_grad_(self.penalty.on_fakes)
        real_scores, fake_scores = self(reals), self(fakes)
        loss = self.objective.discriminator_losses(real_scores, fake_scores).mean()
        penalty = self.penalty(self.network, reals, fakes, real_scores, fake_scores)
        return loss + penalty, {
            "loss/discriminator": loss.detach(),
            "loss/penalty": penalty.detach(),
            "scores/reals": real_scores.detach().mean(),
            "scores/fakes": fake_scores.detach().mean(),
        }

    def generator_losses(
        self,
        fakes: Float[Tensor, "n *event"],
        real_scores: Float[Tensor, " n"] | None = None,
    ) -> Float[Tensor, " n"]:
        """The generator's loss for each sample: what a critic over this module answers.

        Args:
            fakes: the samples to score.
            real_scores: scores of the reals that the fakes are paired with; None where
                the objective does not pair them.
        """
        return self.objective.generator_losses(self(fakes), real_scores)
