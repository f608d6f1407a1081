"""Networks that are told which class a sample is to be, or is, of.

With c a class as a one-hot vector, and a network's features phi(x) before its last,
linear layer <w, phi(x)> + b,

    generator:      z, c -> network([z, c])
    discriminator:  x, c -> <w, phi(x)> + b + <V c, phi(x)>

The generator's first layer thereby has a bias for each class. The discriminator's form is
that of the log ratio of two class-conditional densities whose class posteriors are
softmax-linear in phi: the projection discriminator of Miyato and Koyama, ICLR 2018.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.nn.utils import parametrize

from gan_gradflow.networks.layers import constrained, require_positive


class ConditionalGenerator(nn.Module):
    """Any generator, made class-conditional; costs a slightly wider first layer.

    Args:
        latent_dim: length of a latent.
        num_classes: classes, numbered from 0.
        network: makes the generator, given the `latent_dim` of latents and class together.

    Raises:
        ValueError: a size is below 1.
    """

    def __init__(
        self, latent_dim: int, num_classes: int, network: Callable[..., nn.Module]
    ) -> None:
        super().__init__()
        require_positive(latent_dim=latent_dim, num_classes=num_classes)
        self.latent_dim = latent_dim
        self.num_classes = num_classes
        self.network = network(latent_dim=latent_dim + num_classes)
        self.event_shape = self.network.event_shape

    def forward(
        self, latents: Float[Tensor, "batch latent_dim"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch *event"]:
        """One sample of the given class for each latent."""
        classes = one_hot(labels, self.num_classes).to(latents)
        return self.network(torch.cat([latents, classes], dim=1))


class ProjectionDiscriminator(nn.Module):
    """Any discriminator with `features` and `to_score`, made class-conditional.

    Costs num_classes dot products with the features. With spectral norm on the last layer
    of the network it is on V as well.

    Args:
        num_classes: classes, numbered from 0.
        network: the discriminator.

    Raises:
        ValueError: `num_classes` is below 1.
    """

    def __init__(self, num_classes: int, network: nn.Module) -> None:
        super().__init__()
        require_positive(num_classes=num_classes)
        self.num_classes = num_classes
        self.network: Any = network
        to_score: Any = network.to_score
        projection = nn.Linear(to_score.in_features, num_classes, bias=False)
        self.projection = constrained(projection, parametrize.is_parametrized(to_score))

    def forward(
        self, samples: Float[Tensor, "n *event"], labels: Int[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """The raw score of each sample as one of its class."""
        features = self.network.features(samples)
        for_class = self.projection(features).gather(1, labels.unsqueeze(1))
        return (self.network.to_score(features) + for_class).squeeze(1)
