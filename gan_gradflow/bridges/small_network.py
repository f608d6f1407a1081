"""A network that a bridge trains for itself, on what the critic's scores teach it.

    y = <v, tanh(W x + b)> + a

Its weights and the state of its optimizer (Adam: Kingma and Ba, ICLR 2015) are buffers:
they are in the checkpoint, and no optimizer outside the bridge takes them for its own.
Before its first step the network is zero everywhere, and of no size.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gan_gradflow.processes import ALONE, Processes

_BETAS = (0.9, 0.999)
_STATE = ("weights", "first_moment", "second_moment")


class SmallNetwork(nn.Module):
    """One hidden layer of `width`; sized by the first inputs that it learns from.

    Args:
        width: units of the hidden layer.
        learning_rate: Adam's.

    Raises:
        ValueError: a number is out of range.
    """

    processes: Processes = ALONE
    weights: Tensor
    first_moment: Tensor
    second_moment: Tensor
    steps: Tensor

    def __init__(self, width: int, learning_rate: float) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}; try 32")
        if not learning_rate > 0:
            raise ValueError(
                f"learning_rate must be positive, got {learning_rate}; try 1e-2"
            )
        self.width = width
        self.learning_rate = learning_rate
        for name in _STATE:
            self.register_buffer(name, torch.zeros(0))
        self.register_buffer("steps", torch.zeros(()))

    def size_for(self, dim: int, like: Tensor) -> None:
        """Make the weights for inputs of `dim` elements, unless they are there.

        Raises:
            ValueError: they are there for inputs of another size.
        """
        needed = self.width * (dim + 2) + 1
        if self.weights.numel() not in (0, needed):
            learned = (self.weights.numel() - 1) // self.width - 2
            raise ValueError(
                f"a network in the bridge has learned from {learned} elements and now "
                f"gets {dim}; build a bridge for each shape of emission"
            )
        if self.weights.numel() == 0:
            zeros = torch.zeros(needed, device=like.device)
            for name in _STATE:
                setattr(self, name, zeros.clone())
            # A generator of its own, so that being born disturbs nobody's random numbers.
            generator = torch.Generator().manual_seed(dim)
            hidden = torch.randn(self.width * dim, generator=generator) / dim**0.5
            self.weights[: hidden.numel()] = hidden.to(like.device)

    def forward(
        self, inputs: Float[Tensor, "*queries batch dim"], weights: Float[Tensor, " n"]
    ) -> Float[Tensor, "*queries batch"]:
        """The network's values at given weights; zero while there are none."""
        if weights.numel() == 0:
            return inputs.new_zeros(inputs.shape[:-1])
        dim, width = inputs.shape[-1], self.width
        self.size_for(dim, inputs)
        sizes = [width * dim, width, width, 1]
        hidden, bias, last, offset = weights.to(inputs).split(sizes)
        features = (inputs @ hidden.view(width, dim).T + bias).tanh()
        return features @ last + offset

    @torch.no_grad()
    def step(self, gradient: Float[Tensor, " n"]) -> None:
        """One step of Adam, along the mean gradient of the processes."""
        self.steps += 1
        gradient = self.processes.mean(gradient.to(self.weights))
        self.first_moment.lerp_(gradient, 1 - _BETAS[0])
        self.second_moment.lerp_(gradient**2, 1 - _BETAS[1])
        first = self.first_moment / (1 - _BETAS[0] ** self.steps)
        second = self.second_moment / (1 - _BETAS[1] ** self.steps)
        self.weights -= self.learning_rate * first / (second.sqrt() + 1e-8)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *rest: Any
    ) -> None:
        for name in _STATE:
            saved = state_dict.get(prefix + name)
            if saved is not None:
                setattr(self, name, getattr(self, name).new_zeros(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)
