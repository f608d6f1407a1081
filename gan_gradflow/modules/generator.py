"""The generator: its network, the running average of its weights, and its optimizer."""

from collections.abc import Callable, Iterable

import lightning as L
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from gan_gradflow.bridges.base import GradientBridge
from gan_gradflow.channels.base import Channel
from gan_gradflow.networks.convolution import fast_where_it_pays
from gan_gradflow.types import Emission


class GeneratorModule(L.LightningModule):
    """Turns latents into an emission. Passive: `AdversarialModule` trains it.

    Args:
        network: maps latents `[batch, latent_dim]` to an emission; if it has a number of
            classes, `num_classes`, latents and labels `[batch]`.
        bridge: what the emission goes through on its way to the critic; it knows which
            samples an emission stands for.
        channel: what samples go through behind the bridge.
        optimizer: makes the optimizer of the network's parameters.
        schedule: makes what sets its learning rate from iteration to iteration.
        average_decay: the averaged weights keep this share of themselves each iteration,
            `min(average_decay, (1 + t) / (10 + t))` at iteration t; 0 follows the network.
        clip_norm: the parameter gradient is scaled down to this norm; None leaves it.
        entropy_weight: what the entropy of the emission, a distribution, adds to the loss
            for each unit: positive for narrow ones, negative for wide ones; 0 for nothing.

    Raises:
        ValueError: `average_decay` outside [0, 1), or `clip_norm` not positive.
    """

    def __init__(
        self,
        network: nn.Module,
        bridge: GradientBridge,
        channel: Channel,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        schedule: Callable[[Optimizer], LRScheduler],
        average_decay: float,
        clip_norm: float | None,
        entropy_weight: float,
    ) -> None:
        super().__init__()
        if not 0 <= average_decay < 1:
            raise ValueError(
                f"average_decay must be in [0, 1), got {average_decay}; try 0.995"
            )
        check_clip_norm(clip_norm)
        self.network = network
        self.bridge = bridge
        self.channel = channel
        self.averaged = AveragedModel(network)
        self.averaged.requires_grad_(False)
        self.average_decay = average_decay
        self.make_optimizer = optimizer
        self.make_schedule = schedule
        self.clip_norm = clip_norm
        self.entropy_weight = entropy_weight
        if self.num_classes is not None:
            shares = torch.full((self.num_classes,), 1 / self.num_classes)
            self.register_buffer("class_shares", shares)

    @property
    def num_classes(self) -> int | None:
        """How many classes the network can be asked for; None if it is not asked."""
        return getattr(self.network, "num_classes", None)

    @property
    def latent_dim(self) -> int:
        """The number of elements in one latent."""
        return int(self.network.latent_dim)  # type: ignore[arg-type]

    def forward(
        self,
        latents: Float[Tensor, "batch latent_dim"],
        labels: Int[Tensor, " batch"] | None = None,
    ) -> Emission:
        """The emission for a batch of latents, of these classes if they are asked for."""
        return _emitted(self.network, latents, labels)

    def entropy_term(self, emission: Emission) -> Float[Tensor, ""] | float:
        """What the entropy of the emission adds to the mean loss.

        Raises:
            ValueError: there is a weight, and the emission has no entropy.
        """
        if self.entropy_weight == 0:
            return 0.0
        try:
            return self.entropy_weight * emission.entropy().mean()  # type: ignore[union-attr]
        except (AttributeError, NotImplementedError) as error:
            raise ValueError(
                f"entropy_weight is {self.entropy_weight}, and the emission, "
                f"{type(emission).__name__}, has no entropy; use entropy_weight=0"
            ) from error

    def learning(self) -> list[nn.Parameter]:
        """The parameters that the generator's optimizer updates."""
        return [*self.network.parameters(), *self.bridge.generator_parameters()]

    def configure_optimizers(self) -> tuple[Optimizer, LRScheduler]:
        """The optimizer of what learns, and its schedule; the average follows by itself."""
        optimizer = self.make_optimizer(self.learning())
        return optimizer, self.make_schedule(optimizer)

    @torch.no_grad()
    def update_average(self) -> None:
        """Move the averaged weights towards the network's, once an iteration."""
        # `update_parameters` of `AveragedModel` takes ten times as long.
        count = int(self.averaged.n_averaged)
        decay = min(self.average_decay, (1 + count) / (10 + count)) if count else 0.0
        averaged, current = _tensors(self.averaged.module), _tensors(self.network)
        torch._foreach_lerp_(_floats(averaged), _floats(current), 1 - decay)
        for kept, counter in zip(averaged, current, strict=True):
            if not counter.is_floating_point():
                kept.copy_(counter)
        self.averaged.n_averaged += 1

    def know_classes(self, labels: Int[Tensor, " n"] | None) -> None:
        """Keep how frequent each class is among these labels, where classes matter.

        Raises:
            ValueError: there are no labels, or there is one that the network has no
                class for.
        """
        if self.num_classes is None:
            return
        if labels is None:
            raise ValueError(
                f"{type(self.network).__name__} makes samples of a class, and the data "
                "have no labels; choose data with labels, or a generator and a "
                "discriminator that are not conditional"
            )
        if int(labels.min()) < 0 or int(labels.max()) >= self.num_classes:
            raise ValueError(
                f"num_classes is {self.num_classes}, and the data have labels "
                f"from {int(labels.min())} to {int(labels.max())}; use "
                f"generator.num_classes={int(labels.max()) + 1}"
            )
        counts = labels.bincount(minlength=self.num_classes)
        self.class_shares.copy_(counts / len(labels))

    def labels_for(self, num_samples: int) -> Int[Tensor, " n"] | None:
        """Labels as frequent as in the data, in an order that any first part keeps to."""
        if self.num_classes is None:
            return None
        device = self.class_shares.device
        # Multiples of the golden ratio, less their whole part, fill [0, 1) evenly.
        steps = torch.arange(1, num_samples + 1, dtype=torch.float64, device=device)
        places = (steps * (5**0.5 - 1) / 2).frac()
        edges = self.class_shares.double().cumsum(0)
        return torch.searchsorted(edges[:-1], places, right=True)

    def classes_in_turn(self, num_samples: int) -> Int[Tensor, " n"] | None:
        """Labels 0, 1, .. and from 0 again: for grids with a column for each class."""
        if self.num_classes is None:
            return None
        labels = torch.arange(num_samples, device=self.class_shares.device)
        return labels % self.num_classes

    @torch.no_grad()
    def sample(
        self,
        latents: Float[Tensor, "n latent_dim"],
        averaged: bool,
        labels: Int[Tensor, " n"] | None = None,
        batch_size: int = 256,
    ) -> Float[Tensor, "n *event"]:
        """Fakes in evaluation mode, from the averaged weights or the network's own.

        Behind the channel, where that is part of the product. Of a network that is asked
        for a class, `labels` are the classes; those of `labels_for` if None.
        """
        through = self.channel.on_samples
        return self._fakes(latents, averaged, labels, batch_size, through)

    @torch.no_grad()
    def received(
        self,
        latents: Float[Tensor, "n latent_dim"],
        averaged: bool,
        labels: Int[Tensor, " n"] | None = None,
        batch_size: int = 256,
    ) -> Shaped[Tensor, "n *received"]:
        """Fakes in evaluation mode, as the discriminator receives them."""
        return self._fakes(latents, averaged, labels, batch_size, through_channel=True)

    def _fakes(
        self,
        latents: Tensor,
        averaged: bool,
        labels: Tensor | None,
        batch_size: int,
        through_channel: bool,
    ) -> Tensor:
        if labels is None:
            labels = self.labels_for(len(latents))
        network = self.averaged.module if averaged else self.network
        was_training = network.training
        network.eval()
        try:
            chunks = latents.split(batch_size)
            wanted = (
                [None] * len(chunks) if labels is None else labels.split(batch_size)
            )
            fakes = [
                self.bridge.samples(_emitted(network, *chunk))
                for chunk in zip(chunks, wanted, strict=True)
            ]
            if through_channel:
                fakes = [self.channel(chunk) for chunk in fakes]
        finally:
            network.train(was_training)
        return torch.cat(fakes).float()


def _emitted(
    network: nn.Module,
    latents: Float[Tensor, "n latent_dim"],
    labels: Int[Tensor, " n"] | None,
) -> Emission:
    asked = (latents,) if labels is None else (latents, labels)
    with fast_where_it_pays(network, differentiated=False):
        emission: Emission = network(*asked)
    return emission


def check_clip_norm(clip_norm: float | None) -> None:
    """Raise a ValueError unless `clip_norm` is None or positive."""
    if clip_norm is not None and not clip_norm > 0:
        raise ValueError(
            f"clip_norm must be positive, got {clip_norm}; use null for no clipping"
        )


def _tensors(network: nn.Module) -> list[Tensor]:
    """Parameters and buffers, each once, in one walk over the network."""
    found = {
        id(tensor): tensor
        for part in network.modules()
        for own in (part._parameters, part._buffers)
        for tensor in own.values()
        if tensor is not None
    }
    return list(found.values())


def _floats(tensors: list[Tensor]) -> list[Tensor]:
    """Those that have a mean; counters are copied instead."""
    return [tensor for tensor in tensors if tensor.is_floating_point()]
