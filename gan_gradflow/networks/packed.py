"""Packing: the discriminator judges m samples at once.

    D(x_1, .., x_m) = network([x_1; ..; x_m]),    [;] along the first dimension of an event

All samples of a pack are reals, or all are fakes, so that a lack of variety shows: a
generator that makes one mode is told apart by packs of equal samples. Lin, Khetan, Fanti
and Oh (PacGAN), NeurIPS 2018.
"""

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor, nn

from gan_gradflow.networks.layers import require_positive


class PackedDiscriminator(nn.Module):
    """One raw score for each pack of consecutive samples; the pack shares its loss.

    Costs a wider first layer, and a batch gives an m-th as many scores. A loss that is
    shared moves every sample of its pack. So it goes with bridges that differentiate the
    whole batch (exact, surrogate_input, implicit, straight_through, gumbel_softmax).
    Bridges that estimate a sample's pull from its own loss alone would get an m-th of the
    gradient, with m times the dimensions to search, and are refused.

    Args:
        pack_size: m; the batch must be a multiple of it.
        event_shape: shape of one sample.
        network: makes the discriminator, given the `event_shape` of a pack.

    Raises:
        ValueError: `pack_size` is below 1.
    """

    couples_samples = True

    def __init__(
        self,
        pack_size: int,
        event_shape: Sequence[int],
        network: Callable[..., nn.Module],
    ) -> None:
        super().__init__()
        require_positive(pack_size=pack_size)
        self.pack_size = pack_size
        first, *rest = event_shape
        self.network = network(event_shape=[pack_size * first, *rest])

    def forward(self, samples: Float[Tensor, "n *event"]) -> Float[Tensor, " packs"]:
        """The score of each pack.

        Raises:
            ValueError: the samples do not make up whole packs.
        """
        packs, left = divmod(len(samples), self.pack_size)
        if left:
            raise ValueError(
                f"{len(samples)} samples do not make up packs of {self.pack_size}; use a "
                "data.batch_size (and a critic.chunk_size) that is a multiple of "
                "discriminator.pack_size"
            )
        return self.network(samples.reshape(packs, -1, *samples.shape[2:]))
