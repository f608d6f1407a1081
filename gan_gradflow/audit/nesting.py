"""Tensors in nested tuples, lists, dictionaries and distributions."""

from collections.abc import Callable, Iterator
from typing import Any, no_type_check

from torch import Tensor
from torch.distributions import Distribution


# Called for every torch function of the loop under audit, hence unchecked in tests.
@no_type_check
def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in a nested value."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))
    elif isinstance(value, Distribution):
        yield from tensors_in(vars(value))


def mapped(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """The same nesting with `function` applied to every tensor.

    Distributions and containers of other types are handed on unchanged.
    """
    if isinstance(value, Tensor):
        return function(value)
    if type(value) is dict:
        return {key: mapped(function, item) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(mapped(function, item) for item in value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(function, item) for item in value))
    return value


def copied(value: Any) -> Any:
    """The same nesting with every tensor detached and copied."""
    return mapped(lambda tensor: tensor.detach().clone(), value)
