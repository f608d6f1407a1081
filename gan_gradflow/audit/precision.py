"""How much of a gradient is lost to the precision of the arithmetic.

For a network, the inputs it was given and the gradient v that arrived at its output, the
parameters' gradient is the vector-Jacobian product v^T J. It is computed in float64, in
the network's own precision and in bf16; the error of a layer is the norm of the
difference to float64, relative to the norm of the layer's gradient. Layers whose true
gradient is negligible (a bias before a batch norm) are left out.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gan_gradflow.audit.nesting import mapped, tensors_in
from gan_gradflow.audit.players import group
from gan_gradflow.audit.records import Call, norm

_NEGLIGIBLE = 1e-3  # of the network's gradient


class LayerErrors(NamedTuple):
    """Relative errors of one layer's gradient against float64."""

    own: float
    bf16: float


def measure_precision(network: nn.Module, call: Call) -> dict[str, LayerErrors]:
    """The errors of every layer, by path; empty if the network cannot be compared.

    It cannot if it draws random numbers (dropout is switched off for the comparison) or
    refuses another precision. Training modes of dropout layers are left changed.
    """
    cotangent = call.slopes if call.slopes is not None else call.pull
    assert cotangent is not None, "a call without a gradient at its output"
    for module in network.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.training = False
    own = next(p.dtype for p in network.parameters() if p.is_floating_point())
    dtypes = (torch.float64, own, torch.bfloat16)
    try:
        first, second = (_gradient(network, call, cotangent, own, s) for s in (0, 1))
        if any(not torch.equal(first[name], second[name]) for name in first):
            return {}
        exact, here, half = (
            _gradient(network, call, cotangent, dtype, 0) for dtype in dtypes
        )
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return {}
    return _by_layer(exact, here, half)


def _gradient(
    network: nn.Module, call: Call, cotangent: Tensor, dtype: torch.dtype, seed: int
) -> dict[str, Tensor]:
    parameters = {
        name: _cast(p.detach().clone(), dtype).requires_grad_()
        for name, p in network.named_parameters()
        if p.is_floating_point()
    }
    buffers = {n: _cast(b.detach().clone(), dtype) for n, b in network.named_buffers()}
    args, kwargs = _cast(call.inputs, dtype)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        output = functional_call(network, {**parameters, **buffers}, args, kwargs)
        first = next(t for t in tensors_in(output) if t.is_floating_point())
        gradients = torch.autograd.grad(
            first, list(parameters.values()), cotangent.to(first), allow_unused=True
        )
    return {
        n: g.double()
        for n, g in zip(parameters, gradients, strict=True)
        if g is not None
    }


def _cast(value: Any, dtype: torch.dtype) -> Any:
    return mapped(lambda t: t.to(dtype) if t.is_floating_point() else t, value)


def _by_layer(
    exact: dict[str, Tensor], here: dict[str, Tensor], half: dict[str, Tensor]
) -> dict[str, LayerErrors]:
    errors = {}
    for layer in dict.fromkeys(group(name) for name in exact):
        names = [name for name in exact if group(name) == layer]
        size = norm({name: exact[name] for name in names})
        if size > _NEGLIGIBLE * norm(exact):
            own, bf16 = (_distance(exact, g, names) / size for g in (here, half))
            errors[layer] = LayerErrors(own, bf16)
    return errors


def _distance(
    exact: dict[str, Tensor], other: dict[str, Tensor], names: Sequence[str]
) -> float:
    return norm({name: other[name] - exact[name] for name in names})
