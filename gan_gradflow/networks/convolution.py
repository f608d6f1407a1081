"""Convolutions whose derivatives are as fast as they are, on a CPU.

Let y = w * x be a convolution. It is bilinear, so each derivative of it, of whatever
order, is one of three maps (with g like y, and h like x):

    along x:  w * h        on x:  T(w, g), the transposed convolution        on w:  C(g, x)

A gradient penalty differentiates T(w, g) once more, which takes w * h and C(g, h). PyTorch
computes that C by a convolution over the batch with kernels as large as an image, copies
both into another order of memory for it, and takes up to ten times as long as for the C of
an ordinary backward. And T onto images of a few channels, where the gradient on a sample
ends and where a generator's last layer leads, is computed for 16 of them, the block of
oneDNN's kernels: a matrix product and a sum of patches take a sixth of the time for one
channel, and less than half for three.

So inside of `fast_convolutions` these two go other ways: the same to rounding. (And the
gradient behind a transposed convolution is put in the order of memory of what it is on.)
(For GPUs, Karras et al. replaced convolutions for the sake of a penalty's derivatives in
StyleGAN2-ADA, NeurIPS 2020.)
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from math import prod
from operator import lt
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual
from torch.nn import functional
from torch.overrides import TorchFunctionMode

# Channels times threads up to which patches are faster: one thread alone sums them.
_PATCHES_PAY = 4
_MOST_OVERLAP = 9  # patches over a pixel: 3 x 3 for kernels of 3 and stride 1

Samples = Float[Tensor, "n channels height width"]
Maps = Float[Tensor, "n maps rows columns"]
Weight = Float[Tensor, "maps channels_of_a_group kernel_height kernel_width"]


class _Plan(NamedTuple):
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int


class fast_convolutions(TorchFunctionMode):
    """Inside, two-dimensional convolutions on a CPU have faster derivatives.

    `torch.conv2d` and `torch.conv_transpose2d` of real numbers in one precision are meant,
    with numbers for their padding. Under autocast, the transforms of `torch.func` and in
    forward mode all stays as it is.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        arguments: tuple[Any, ...] = (),
        named: dict[str, Any] | None = None,
    ) -> Any:
        """Let one torch function happen, or what takes its place."""
        named = named or {}
        if function is torch.conv2d and _is_meant(arguments, named):
            return _convolution(*arguments, **named)
        if function is torch.conv_transpose2d and _is_meant(arguments, named):
            return _transposed(*arguments, **named)
        return function(*arguments, **named)


def fast_where_it_pays(
    network: nn.Module, differentiated: bool
) -> AbstractContextManager[object]:
    """`fast_convolutions` around a network that gains from it.

    A mode costs a few microseconds for each of the network's operations. Where a part is
    compiled, or in mixed precision, whose backward may be in it as well, there is none.

    Args:
        network: it is about to be called.
        differentiated: whether on samples that a gradient is asked on.
    """

    def gains(part: nn.Module) -> bool:
        if isinstance(part, nn.Conv2d) and differentiated:
            few = _patches_pay(part.in_channels, *_shape_of(part))
            return few or any(p.requires_grad for p in network.parameters())
        if isinstance(part, nn.ConvTranspose2d):
            return _patches_pay(part.out_channels, *_shape_of(part))
        return False

    if torch.is_autocast_enabled("cpu") or not any(map(gains, network.modules())):
        return nullcontext()
    if any(map(_is_compiled, network.modules())):
        return nullcontext()
    return fast_convolutions()


def _is_compiled(part: nn.Module) -> bool:
    """In place, or by `torch.compile`, whose module holds the one that was compiled."""
    return part._compiled_call_impl is not None or "_orig_mod" in part._modules


def _shape_of(
    part: nn.Conv2d | nn.ConvTranspose2d,
) -> tuple[tuple[int, ...], list[int], int]:
    return part.kernel_size, list(part.stride), part.groups


def _is_meant(arguments: tuple[Any, ...], named: dict[str, Any]) -> bool:
    if len(arguments) < 2:
        return False
    x, weight = arguments[:2]
    given = [*arguments[:3], *named.values()]
    return (
        x.device.type == "cpu"
        and x.ndim == 4
        and x.is_floating_point()
        and x.dtype == weight.dtype
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._are_functorch_transforms_active()
        and all(unpack_dual(t).tangent is None for t in given if isinstance(t, Tensor))
    )


def _convolution(
    samples: Samples,
    weight: Weight,
    bias: Float[Tensor, " maps"] | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Maps:
    """`torch.conv2d`, with other derivatives."""
    differentiated = samples.requires_grad and torch.is_grad_enabled()
    if isinstance(padding, str) or not differentiated:
        return torch.conv2d(samples, weight, bias, stride, padding, dilation, groups)
    plan = _Plan(_pair(stride), _pair(padding), _pair(dilation), groups)
    if not (weight.requires_grad or _by_patches(weight, plan)):
        return torch.conv2d(samples, weight, bias, *plan)
    return _Convolution.apply(samples, weight, bias, plan)  # type: ignore[no-untyped-call]


def _transposed(
    maps: Maps,
    weight: Weight,
    bias: Float[Tensor, " channels"] | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Samples:
    """`torch.conv_transpose2d`, by patches where they are the faster way."""
    plan = _Plan(_pair(stride), _pair(padding), _pair(dilation), groups)
    added, channels = _pair(output_padding), weight.shape[1]
    sizes = [
        (side - 1) * step - 2 * pad + spread * (kernel - 1) + more + 1
        for side, step, pad, spread, kernel, more in zip(
            maps.shape[2:],
            plan.stride,
            plan.padding,
            plan.dilation,
            weight.shape[2:],
            added,
            strict=True,
        )
    ]
    fits = bias is None or (bias.shape == (channels,) and bias.dtype == maps.dtype)
    fits &= min(sizes) > 0 and all(map(lt, added, plan.stride))
    if not (fits and _by_patches(weight, plan)):
        if maps.requires_grad and maps.is_contiguous():
            maps = _Ordered.apply(maps)  # type: ignore[no-untyped-call]
        return torch.conv_transpose2d(
            maps, weight, bias, stride, padding, output_padding, groups, dilation
        )
    like = maps.new_empty(()).expand(len(maps), channels, *sizes)
    samples = _OnSamples.apply(maps, like, weight, plan)  # type: ignore[no-untyped-call]
    return samples if bias is None else samples + bias.view(-1, 1, 1)


class _Ordered(torch.autograd.Function):
    """Maps in NCHW order, whose gradient is put in that order too.

    Behind weights in channels-last order it would come in theirs, and what came before
    the maps, an activation or a norm, takes ten times as long on two orders at once.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:  # noqa: ARG004
        return maps.view_as(maps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        return gradient.contiguous()


class _Convolution(torch.autograd.Function):
    """w * x."""

    @staticmethod
    def forward(
        ctx: Any, samples: Tensor, weight: Tensor, bias: Tensor | None, plan: _Plan
    ) -> Tensor:
        ctx.save_for_backward(samples, weight)
        ctx.plan = plan
        return torch.conv2d(samples, weight, bias, *plan)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        samples, weight = ctx.saved_tensors
        plan = ctx.plan
        given = (gradient, samples, weight, plan)
        on_samples, on_weight, on_bias = (*_wanted(ctx), False)[:3]
        if not torch.is_grad_enabled():
            wanted = [on_samples, on_weight, on_bias]
            return *_derivatives(gradient, samples, weight, plan, wanted), None
        return (
            _OnSamples.apply(*given) if on_samples else None,  # type: ignore[no-untyped-call]
            _OnWeight.apply(*given) if on_weight else None,  # type: ignore[no-untyped-call]
            gradient.sum((0, 2, 3)) if on_bias else None,
            None,
        )


class _OnSamples(torch.autograd.Function):
    """T(w, g); of the samples the shape counts."""

    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, samples: Tensor, weight: Tensor, plan: _Plan
    ) -> Tensor:
        ctx.save_for_backward(gradient, weight)
        ctx.plan = plan
        return _derivatives(gradient, samples, weight, plan, [True, False, False])[0]

    @staticmethod
    def backward(ctx: Any, second: Tensor) -> Any:
        gradient, weight = ctx.saved_tensors
        on_gradient, _, on_weight = _wanted(ctx)
        return (
            _Convolution.apply(second, weight, None, ctx.plan) if on_gradient else None,  # type: ignore[no-untyped-call]
            None,
            _OnWeight.apply(gradient, second, weight, ctx.plan) if on_weight else None,  # type: ignore[no-untyped-call]
            None,
        )


class _OnWeight(torch.autograd.Function):
    """C(g, x); of the weight the shape counts."""

    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, samples: Tensor, weight: Tensor, plan: _Plan
    ) -> Tensor:
        ctx.save_for_backward(gradient, samples)
        ctx.plan = plan
        return _derivatives(gradient, samples, weight, plan, [False, True, False])[1]

    @staticmethod
    def backward(ctx: Any, second: Tensor) -> Any:
        gradient, samples = ctx.saved_tensors
        on_gradient, on_samples, _ = _wanted(ctx)
        return (
            _Convolution.apply(samples, second, None, ctx.plan)
            if on_gradient
            else None,  # type: ignore[no-untyped-call]
            _OnSamples.apply(gradient, samples, second, ctx.plan)
            if on_samples
            else None,  # type: ignore[no-untyped-call]
            None,
            None,
        )


def _derivatives(
    gradient: Tensor, samples: Tensor, weight: Tensor, plan: _Plan, wanted: list[bool]
) -> list[Any]:
    """On samples, weight and bias, as far as they are wanted."""
    by_patches = wanted[0] and _by_patches(weight, plan)
    asked = [wanted[0] and not by_patches, *wanted[1:]]
    found: list[Any] = [None, None, None]
    if any(asked):
        stride, padding, dilation, groups = plan
        transposed, output_padding = False, [0, 0]
        found = list(
            torch.ops.aten.convolution_backward(
                gradient,
                samples,
                weight,
                [len(weight)],
                stride,
                padding,
                dilation,
                transposed,
                output_padding,
                groups,
                asked,
            )
        )
    if by_patches:
        found[0] = functional.fold(
            weight.reshape(len(weight), -1).t()
            @ gradient.reshape(*gradient.shape[:2], -1),
            samples.shape[2:],
            weight.shape[2:],
            tuple(plan.dilation),
            tuple(plan.padding),
            tuple(plan.stride),
        )
    return found


def _by_patches(weight: Tensor, plan: _Plan) -> bool:
    """Whether T(w, g) is a matrix product and a sum of patches."""
    kernel = tuple(weight.shape[2:])
    return _patches_pay(weight.shape[1], kernel, plan.stride, plan.groups)


def _patches_pay(
    channels: int, kernel: tuple[int, ...], stride: list[int], groups: int
) -> bool:
    overlap = prod(kernel) / prod(stride)
    few = channels * torch.get_num_threads() <= _PATCHES_PAY
    return few and groups == 1 and overlap <= _MOST_OVERLAP


def _pair(value: Any) -> list[int]:
    both = list(value) if isinstance(value, list | tuple) else [int(value)]
    return both * 2 if len(both) == 1 else both


def _wanted(ctx: Any) -> list[bool]:
    """Which of its tensors the backward under way computes the gradient of.

    `needs_input_grad` counts every tensor that has a gradient, in a backward to a few too.
    """
    return [_is_executed(node) for node, _ in ctx.next_functions]


def _is_executed(node: Any) -> bool:
    if node is None:
        return False
    try:
        return torch._C._will_engine_execute_node(node)  # type: ignore[attr-defined]
    except RuntimeError:  # a leaf that `torch.autograd.grad` was asked for
        return True
