"""How a user's step is called, and what the calls in it say about its loss."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor

from gan_gradflow.audit.nesting import copied, tensors_in


def arguments(step: Callable[..., Any] | Any, batch: Any) -> tuple:
    """A copy of the batch as the step wants it: not at all, whole, or spread."""
    try:
        parameters = inspect.signature(step).parameters.values()
    except (TypeError, ValueError):
        return () if batch is None else (batch,)
    places = [
        p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    starred = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if batch is None or not (places or starred):
        return ()
    required = sum(p.default is p.empty for p in places)
    spread = isinstance(batch, (tuple, list)) and len(batch) == required > 1
    return tuple(copied(batch)) if spread else (copied(batch),)


def as_float(loss: Any) -> float | None:
    """A returned loss as a number, if it is one or holds one scalar tensor."""
    if isinstance(loss, (int, float)):
        return float(loss)
    tensors = [tensor for tensor in tensors_in(loss) if tensor.numel() == 1]
    return float(tensors[0].detach()) if len(tensors) == 1 else None


def roots(*calls: Any, **keywords: Any) -> list[float]:
    """The values that a `backward` with these arguments differentiates."""
    starts = calls[0] if calls else keywords.get("tensors")
    given = calls[1] if len(calls) > 1 else None
    for name in ("gradient", "grad_tensors"):
        given = keywords.get(name, given)
    weights = given if isinstance(given, (tuple, list)) else [given]
    values = []
    for index, start in enumerate(tensors_in(starts)):
        weight = weights[index] if index < len(weights) else None
        value = start.detach()
        if isinstance(weight, Tensor):
            value = value * weight.detach()
        values.append(value.sum())
    return [float(value) for value in values]
