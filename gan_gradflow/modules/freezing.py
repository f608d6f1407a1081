"""Keeping the other player as it is while one of them learns."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Inside, no parameter of `module` asks for a gradient; buffers are put back after.

    The module keeps its training mode, so batch norm still normalises by the batch; what
    it recorded meanwhile is forgotten on leaving. Spectral norm alone stands still: a
    power iteration in each call would have two questions meet two networks.
    """
    learning = [p for p in module.parameters() if p.requires_grad]
    iterating = [m for m in module.modules() if m.training and _iterates(m)]
    for parameter in learning:
        parameter.requires_grad = False
    for part in iterating:
        part.training = False
    try:
        with buffers_kept(module):
            yield
    finally:
        for parameter in learning:
            parameter.requires_grad = True
        for part in iterating:
            part.training = True


def _iterates(module: nn.Module) -> bool:
    """Whether this is a spectral norm, or a layer whose weight the older kind divides."""
    hooks = module._forward_pre_hooks.values()
    older = any(isinstance(hook, SpectralNorm) for hook in hooks)
    return older or isinstance(module, _SpectralNorm)


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
