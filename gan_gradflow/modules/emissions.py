"""What the round asks of an emission, a tensor or a distribution: its size, its pull."""

from torch import Tensor
from torch.distributions import Distribution, Independent

from gan_gradflow.types import Emission


def watch(emission: Emission) -> list[Tensor]:
    """A list that backward fills with the gradients arriving on the emission."""
    pulls: list[Tensor] = []
    for tensor in _tensors_of(emission):
        if tensor.requires_grad:
            tensor.register_hook(lambda gradient: pulls.append(gradient.detach()))
    return pulls


def _tensors_of(emission: Emission) -> list[Tensor]:
    while isinstance(emission, Independent):
        emission = emission.base_dist
    if isinstance(emission, Distribution):
        return [value for value in vars(emission).values() if isinstance(value, Tensor)]
    return [emission]


def size_of(emission: Emission) -> tuple[int, int]:
    """Samples, and elements of each."""
    if isinstance(emission, Distribution):
        return emission.batch_shape.numel(), emission.event_shape.numel()
    return len(emission), emission[0].numel()
