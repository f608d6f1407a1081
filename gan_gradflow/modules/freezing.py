"""Keeping the other player as it is while one of them learns."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Inside, no parameter of `module` asks for a gradient; buffers are put back after.

    The module keeps its training mode, so batch norm still normalises by the batch and
    spectral norm still iterates; what they recorded meanwhile is forgotten on leaving.
    """
    learning = [p for p in module.parameters() if p.requires_grad]
    for parameter in learning:
        parameter.requires_grad = False
    try:
        with buffers_kept(module):
            yield
    finally:
        for parameter in learning:
            parameter.requires_grad = True


@contextmanager
def buffers_kept(module: nn.Module) -> Iterator[None]:
    """Inside, `module` may be used; its buffers are put back after."""
    buffers = [buffer.detach() for buffer in module.buffers()]
    kept = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, value in zip(buffers, kept, strict=True):
            buffer.copy_(value)
