"""The discriminator: its network, its objective with a penalty, and its optimizer."""

from collections.abc import Callable, Iterable

import lightning as L
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from gan_gradflow.modules.generator import check_clip_norm
from gan_gradflow.networks.augmentations import Augmentation
from gan_gradflow.networks.convolution import fast_where_it_pays
from gan_gradflow.objectives.base import Objective
from gan_gradflow.objectives.penalties import Penalty
from gan_gradflow.processes import ALONE, Processes


class DiscriminatorModule(L.LightningModule):
    """Scores samples. Passive: `AdversarialModule` trains it.

    Args:
        network: maps samples `[n, *event]` to scores `[n]`, higher for reals; if it has a
            number of classes, `num_classes`, samples and labels `[n]`. It may also score
            packs of consecutive samples, `[n / m]`; or, if it has a true `per_position`,
            each position of samples `[length]`, `[n, length]`.
        objective: the pair of losses.
        penalty: added to the discriminator's loss.
        augmentation: what happens to reals and fakes before they are scored in a loss.
        optimizer: makes the optimizer of the network's parameters.
        schedule: makes what sets its learning rate from iteration to iteration.
        clip_norm: the parameter gradient is scaled down to this norm; None leaves it.

    Attributes:
        processes: those that share the batch, of which it is given one's rows.
    """

    processes: Processes = ALONE

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        penalty: Penalty,
        augmentation: Augmentation,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        schedule: Callable[[Optimizer], LRScheduler],
        clip_norm: float | None,
    ) -> None:
        super().__init__()
        check_clip_norm(clip_norm)
        self.network = network
        self.objective = objective
        self.penalty = penalty
        self.augmentation = augmentation
        self.make_optimizer = optimizer
        self.make_schedule = schedule
        self.clip_norm = clip_norm

    @property
    def conditional(self) -> bool:
        """Whether a sample is scored as one of its class."""
        return getattr(self.network, "num_classes", None) is not None

    @property
    def positions(self) -> int | None:
        """How many positions of a sample have a score of their own; None if it has one."""
        if not getattr(self.network, "per_position", False):
            return None
        return int(self.network.event_shape[0])  # type: ignore[index]

    def forward(
        self,
        samples: Shaped[Tensor, "n *event"],
        labels: Int[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "scores *positions"]:
        """The score of each sample (or pack of samples), in float32 at least.

        bf16 has no room for losses.
        """
        asked = (samples, labels) if self.conditional else (samples,)
        differentiated = samples.requires_grad and torch.is_grad_enabled()
        with fast_where_it_pays(self.network, differentiated):
            scores = self.network(*asked)
        return scores.to(torch.promote_types(scores.dtype, torch.float32))

    def learning(self) -> list[nn.Parameter]:
        """The parameters that the discriminator's optimizer updates."""
        return list(self.network.parameters())

    def configure_optimizers(self) -> tuple[Optimizer, LRScheduler]:
        """The optimizer of the network, and its schedule."""
        optimizer = self.make_optimizer(self.learning())
        return optimizer, self.make_schedule(optimizer)

    def loss(
        self,
        reals: Shaped[Tensor, "batch *event"],
        fakes: Shaped[Tensor, "batch *event"],
        labels: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The discriminator's loss on reals and exposed fakes, and scalars to log.

        Args:
            reals: from the data.
            fakes: what the bridge exposed, in row i of the class of real i.
            labels: these classes, if there are any.
        """
        fakes = as_precise(fakes.detach(), reals).requires_grad_(self.penalty.on_fakes)
        return self.scored_loss(reals, fakes, labels)[:2]

    def scored_loss(
        self,
        reals: Shaped[Tensor, "batch *event"],
        fakes: Shaped[Tensor, "batch *event"],
        labels: Int[Tensor, " batch"] | None,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor], tuple[Tensor, Tensor]]:
        """`loss` on fakes as they are, and the scores of reals and fakes in it."""

        def score(samples: Tensor) -> Tensor:
            return self.augmented(samples, labels, self._draws(samples))

        reals = reals.detach().requires_grad_(self.penalty.on_reals)
        # Positions, where each has a score, are judged like samples.
        real_scores, fake_scores = score(reals).flatten(), score(fakes).flatten()
        loss = self.objective.discriminator_losses(real_scores, fake_scores).mean()
        penalty = self.penalty(score, reals, fakes, real_scores, fake_scores)
        scalars = {
            "loss/discriminator": loss.detach(),
            "loss/penalty": penalty.detach(),
            "scores/reals": real_scores.detach().mean(),
            "scores/fakes": fake_scores.detach().mean(),
        }
        return loss + penalty, scalars, (real_scores, fake_scores)

    def augmented(
        self,
        samples: Shaped[Tensor, "n *event"],
        labels: Int[Tensor, " n"] | None,
        draws: Float[Tensor, "n draws"],
    ) -> Float[Tensor, "scores *positions"]:
        """The scores of samples as these draws augment them."""
        return self(self.augmentation(samples, draws), labels)

    def _draws(self, samples: Shaped[Tensor, "n *event"]) -> Float[Tensor, "n draws"]:
        shape = (len(samples) * self.processes.size, self.augmentation.num_draws)
        return self.processes.own(torch.rand(*shape, device=samples.device))

    @torch.no_grad()
    def context(
        self,
        reals: Shaped[Tensor, "batch *event"],
        labels: Int[Tensor, " batch"] | None,
    ) -> tuple[Tensor, ...]:
        """What `generator_losses` is told beside a batch of fakes, a row for each of them.

        The draws of their augmentation, so that all questions about a fake meet the same;
        their classes if the discriminator is conditional; and the scores of the reals
        that they are paired with if the objective pairs them.
        """
        told = [self._draws(reals)] if self.augmentation.num_draws else []
        if self.conditional and labels is not None:
            told.append(labels)
        if self.objective.paired:
            scores = self.augmented(reals, labels, self._draws(reals))
            told.append(_for_each(reals, scores))
        return tuple(told)

    def generator_losses(
        self, fakes: Shaped[Tensor, "n *event"], *context: Tensor
    ) -> Float[Tensor, "n *positions"]:
        """The generator's loss for each sample: what a critic over this module answers.

        For each position of a sample, where it is scored so.

        Args:
            fakes: the samples to score.
            context: rows of what `context` gave that belong to them.
        """
        told = list(context)
        draws = told.pop(0) if self.augmentation.num_draws else self._draws(fakes)
        labels = told.pop(0) if self.conditional else None
        paired = told.pop(0).flatten() if self.objective.paired and told else None
        scores = _for_each(fakes, self.augmented(fakes, labels, draws))
        losses = self.objective.generator_losses(scores.flatten(), paired)
        return losses.reshape(scores.shape)


def as_precise(
    fakes: Shaped[Tensor, "batch *event"], reals: Shaped[Tensor, "batch *event"]
) -> Shaped[Tensor, "batch *event"]:
    """Fakes in the precision of the reals that a penalty mixes or sums them with.

    In mixed precision a generator emits bfloat16, and reals are float32.
    """
    if fakes.is_floating_point() and reals.is_floating_point():
        return fakes.to(reals.dtype)
    return fakes


def _for_each(
    samples: Shaped[Tensor, "n *event"], scores: Float[Tensor, "scores *positions"]
) -> Float[Tensor, "n *positions"]:
    """The score of each sample: its own, or that of its pack."""
    return scores.repeat_interleave(
        len(samples) // len(scores), dim=0, output_size=len(samples)
    )
