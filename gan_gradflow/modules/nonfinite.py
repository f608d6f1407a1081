"""Finding what is NaN or infinite: the figures of an iteration, and the first parameter."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from gan_gradflow.processes import Processes


class NonFiniteError(RuntimeError):
    """A loss, a pull or a parameter gradient is NaN or infinite."""


def require_finite(
    figures: dict[str, Tensor], processes: Processes, iteration: int
) -> None:
    """Raise a NonFiniteError, in every process, if a figure of any process is not finite.

    All figures are looked at at once, for each look at a number waits for the device.
    """
    own = torch.stack([figure.detach() for figure in figures.values()])
    for values in processes.gather(own.unsqueeze(0)).tolist():
        for name, value in zip(figures, values, strict=True):
            if not math.isfinite(value):
                raise NonFiniteError(f"{name} is {value} in iteration {iteration}")


def first_nonfinite(named_parameters: Iterable[tuple[str, nn.Parameter]]) -> str:
    """The first parameter that is not finite, or whose gradient is not; or nothing."""
    named = [(n, p) for n, p in named_parameters if ".averaged." not in n]
    for name, parameter in named:
        if not parameter.isfinite().all():
            return name
    for name, parameter in named:
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            return f"the gradient of {name}"
    return ""
