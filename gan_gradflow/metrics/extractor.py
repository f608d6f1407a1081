"""Features of samples, from any network that maps a batch to one vector for each sample.

    features(x) in R^d  for x of shape [n, *event];   images are cut to [-1, 1] before

A network with a `head` is a classifier as well: softmax(head(features)) are its classes.
"""

import hashlib
import inspect

import torch
from jaxtyping import Float
from torch import Tensor, nn

_CHUNK = 250  # fits the cache of a CPU core


class Extractor:
    """Features in float32, whatever the precision of the training, on the CPU.

    Args:
        network: maps samples `[n, *event]` to features `[n, d]`.
        event_shape: the shape of one sample; three elements make it an image.

    Raises:
        ValueError: the network cannot look at such samples, or does not return one
            vector for each of them.
    """

    def __init__(self, network: nn.Module, event_shape: tuple[int, ...]) -> None:
        self.network = network.eval().requires_grad_(False)
        self.network.to(memory_format=torch.channels_last)
        self.is_image = len(event_shape) == 3
        self.num_features = self._try_out(event_shape)

    @property
    def name(self) -> str:
        """What figures in these features are called after."""
        return type(self.network).__name__

    @property
    def preprocessing(self) -> str:
        """What is done to samples before the network sees them."""
        return "cut to [-1, 1]" if self.is_image else "none"

    @property
    def is_classifier(self) -> bool:
        """Whether the network has a head that leads from its features to classes."""
        head = getattr(self.network, "head", None)
        return isinstance(head, nn.Linear) and head.in_features == self.num_features

    def __call__(self, samples: Float[Tensor, "n *event"]) -> Float[Tensor, "n d"]:
        """The features of samples."""
        return self._look(samples)

    @torch.no_grad()
    def probabilities(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """The class probabilities that the head sees in features, in float64."""
        head: nn.Module = self.network.head  # type: ignore[assignment]
        device = next(head.parameters()).device
        with torch.autocast(device.type, enabled=False):
            return head(features.to(device)).softmax(1).double().cpu()

    def fingerprint(self) -> str:
        """A hash of the network's weights, buffers, structure and code."""
        seen = hashlib.sha256(repr(self.network).encode())
        for kind in sorted({type(m) for m in self.network.modules()}, key=str):
            seen.update(_source(kind).encode())
        for key, value in self.network.state_dict().items():
            seen.update(key.encode())
            seen.update(value.detach().cpu().contiguous().numpy().tobytes())
        return seen.hexdigest()

    @torch.no_grad()
    def _look(self, samples: Tensor) -> Tensor:
        self.network.to(samples.device)
        with torch.autocast(samples.device.type, enabled=False):
            samples = samples.float()
            samples = samples.clamp(-1, 1) if self.is_image else samples
            features = [self.network(chunk) for chunk in samples.split(_CHUNK)]
        return torch.cat(features).float().cpu()

    def _try_out(self, event_shape: tuple[int, ...]) -> int:
        try:
            features = self._look(torch.zeros(2, *event_shape))
        except Exception as error:
            raise ValueError(
                f"{self.name} cannot look at samples of {list(event_shape)}: "
                f"{_first_line(error)}; choose features that can"
            ) from error
        if features.ndim != 2 or len(features) != 2 or features.shape[1] < 1:
            raise ValueError(
                f"{self.name} returned {list(features.shape)} for 2 samples of "
                f"{list(event_shape)}; it must return one vector each, [2, features]: "
                "flatten or pool what it returns"
            )
        return features.shape[1]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _source(kind: type) -> str:
    try:
        return f"{kind.__module__}.{kind.__qualname__}\n{inspect.getsource(kind)}"
    except (OSError, TypeError):
        return f"{kind.__module__}.{kind.__qualname__}"
