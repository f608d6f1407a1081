"""How many combinations of digits the fakes show, and how evenly.

Each of the C channels of a fake is a digit to the shipped classifier, so a fake belongs
to one of m = 10^C modes. With n fakes, of which a share p_j belongs to mode j,

    modes         modes with at least one fake,
    reverse_kl    sum_j p_j log(p_j m),
    confidence    mean over all digits of the largest class probability.

The first two are the protocol of PacGAN (Lin et al., NeurIPS 2018; C = 3, n = 26 000).
Samples that are evenly spread over the modes expect, the divergence to first order in
1 / n,

    m (1 - (1 - 1 / m)^n),    (m - 1) / (2 n).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.metrics.base import Reals, SampleQuality
from gan_gradflow.metrics.mnist_classifier import MNISTClassifier

_CHUNK = 250  # fits the cache of a CPU core


class StackedDigits(SampleQuality):
    """Modes and divergence of stacked digits; a classification for each channel.

    26 000 fakes of three digits take about eight seconds on two CPU cores. The classifier
    is the one that comes with the package. Any image is some digit to it, so read
    `confidence` beside the modes: noise covers few of them, blurred digits many.

    Args:
        num_samples: how many fakes one measurement takes.

    Raises:
        ValueError: `num_samples` is below 1.
    """

    primary = "reverse_kl"

    def __init__(self, num_samples: int) -> None:
        super().__init__(num_samples)
        if num_samples < 1:
            raise ValueError(
                f"num_samples must be at least 1, got {num_samples}; try 26000"
            )
        self._classifier = MNISTClassifier.pretrained()
        self._num_modes = 0

    def prepare(self, data: Reals) -> None:
        """Keep the number of modes.

        Raises:
            ValueError: the data are not stacks of at most four digits.
        """
        channels, *pixels = data.event_shape
        if pixels != [28, 28] or channels > 4:
            raise ValueError(
                f"{type(self).__name__} classifies digits [channels, 28, 28] of at most "
                f"4 channels, and the data are {list(data.event_shape)}; choose "
                "data=stacked_mnist, or metrics=none"
            )
        self._num_modes = 10**channels

    def measure(self, fakes: Float[Tensor, "n channels 28 28"]) -> dict[str, float]:
        """Modes covered, reverse KL and confidence."""
        probabilities = self._probabilities(fakes)
        place = 10 ** torch.arange(fakes.shape[1])
        modes = (probabilities.argmax(2) * place).sum(1)
        shares = modes.bincount(minlength=self._num_modes).double() / len(fakes)
        return {
            "modes": float((shares > 0).sum()),
            "reverse_kl": shares.xlogy(shares * self._num_modes).sum().item(),
            "confidence": probabilities.amax(2).mean().item(),
        }

    def floor(self) -> dict[str, float]:
        """What samples expect that are evenly spread over the modes."""
        modes, count = self._num_modes, self.num_samples
        return {
            "modes": modes * (1 - (1 - 1 / modes) ** count),
            "reverse_kl": (modes - 1) / (2 * count),
            "confidence": 1.0,
        }

    def _probabilities(
        self, fakes: Float[Tensor, "n channels 28 28"]
    ) -> Float[Tensor, "n channels 10"]:
        classifier = self._classifier.to(fakes.device)
        digits = fakes.flatten(0, 1).unsqueeze(1)
        with torch.autocast(fakes.device.type, enabled=False):
            chunks = digits.float().clamp(-1, 1).split(_CHUNK)
            logits = torch.cat([classifier.logits(chunk) for chunk in chunks])
        return logits.softmax(1).unflatten(0, fakes.shape[:2]).cpu()
