"""What convolutions with faster derivatives promise: the same numbers."""

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.forward_ad import dual_level, make_dual, unpack_dual
from torch.nn import functional

from gan_gradflow.networks import convolution
from gan_gradflow.networks.convolution import (
    fast_convolutions,
    fast_where_it_pays,
)
from gan_gradflow.networks.dcgan import DCGANDiscriminator, DCGANGenerator

GEOMETRIES = [
    {"stride": 2, "padding": 1},
    {"stride": (2, 1), "padding": (0, 2)},
    {"stride": (1,), "dilation": (1, 2)},
    {"dilation": 2, "padding": (2,)},
]


@pytest.fixture(autouse=True, params=["by patches", "by kernels"])
def way(request, monkeypatch):
    """Both ways to the gradient on samples of a few channels, whatever pays here."""
    bound = 4 * torch.get_num_threads() if request.param == "by patches" else 0
    monkeypatch.setattr(convolution, "_PATCHES_PAY", bound)
    return request.param


def drawn(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, requires_grad=True)


def replaced(function, *arguments, **named):
    with fast_convolutions():
        return function(*arguments, **named)


def replaced_transposed(*arguments, **named):
    return replaced(torch.conv_transpose2d, *arguments, **named)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("channels", [2, 6])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_convolution_and_its_derivatives_are_those_on_paper(
    geometry, channels, groups
):
    x, weight, bias = (
        drawn(2, channels, 5, 6),
        drawn(4, channels // groups, 3, 2),
        drawn(4),
    )

    def convolved(x, weight, bias):
        return replaced(torch.conv2d, x, weight, bias, groups=groups, **geometry)

    y = convolved(x, weight, bias)
    assert type(y.grad_fn).__name__ == "_ConvolutionBackward"
    assert torch.equal(y, torch.conv2d(x, weight, bias, groups=groups, **geometry))
    assert gradcheck(convolved, (x, weight, bias), fast_mode=True)
    assert gradgradcheck(convolved, (x, weight, bias), fast_mode=True)


@pytest.mark.parametrize("more", [0, (1, 0)])
@pytest.mark.parametrize("geometry", [g for g in GEOMETRIES if "stride" in g])
def test_a_transposed_convolution_to_few_channels_and_its_derivatives_too(
    geometry, more
):
    x, weight, bias = drawn(2, 4, 3, 4), drawn(4, 3, 3, 2), drawn(3)
    geometry = geometry | {"output_padding": more if geometry["stride"] == 2 else 0}

    def transposed(x, weight, bias):
        return replaced(torch.conv_transpose2d, x, weight, bias, **geometry)

    expected = torch.conv_transpose2d(x, weight, bias, **geometry)
    torch.testing.assert_close(transposed(x, weight, bias), expected)
    assert gradcheck(transposed, (x, weight, bias), fast_mode=True)
    assert gradgradcheck(transposed, (x, weight, bias), fast_mode=True)


def test_third_derivatives_pass():
    x, weight = drawn(1, 1, 4, 4), drawn(2, 1, 3, 3)

    def slope(x, weight):
        y = replaced(torch.conv2d, x, weight, padding=1).pow(3).sum()
        return torch.autograd.grad(y, (x, weight), create_graph=True)

    assert gradgradcheck(slope, (x, weight), fast_mode=True)


def penalty_gradients(network, reals, context):
    reals = reals.clone().requires_grad_()
    with context:
        scores = network(reals)
    (slopes,) = torch.autograd.grad(scores.sum(), reals, create_graph=True)
    loss = functional.softplus(-scores).mean() + slopes.square().sum() / len(reals)
    loss.backward(inputs=list(network.parameters()))
    gradients = [p.grad for p in network.parameters()]
    network.zero_grad()
    return gradients


@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("spectral_norm", [True, False])
def test_a_penalty_has_the_same_gradients(channels, format, spectral_norm):
    network = DCGANDiscriminator([channels, 28, 28], 4, "none", spectral_norm)
    network = network.double().eval().to(memory_format=format)
    reals = torch.randn(3, channels, 28, 28, dtype=torch.float64)
    plain = penalty_gradients(network, reals, torch.enable_grad())
    fast = penalty_gradients(network, reals, fast_convolutions())
    for ours, theirs in zip(fast, plain, strict=True):
        torch.testing.assert_close(ours, theirs)
        assert ours.ndim < 4 or ours.is_contiguous(memory_format=format)


def test_a_generator_has_the_same_fakes_and_gradients():
    network = DCGANGenerator(4, [3, 28, 28], 4, "batch").double()
    latents = torch.randn(5, 4, dtype=torch.float64)
    weights = list(network.parameters())
    plain, fast = network(latents), replaced(network, latents)
    torch.testing.assert_close(fast, plain)
    ours = torch.autograd.grad(fast.square().sum(), weights)
    theirs = torch.autograd.grad(plain.square().sum(), weights)
    torch.testing.assert_close(ours, theirs)


def test_gradients_come_in_the_order_of_the_maps_they_are_on():
    x, weight = drawn(2, 6, 3, 3), drawn(6, 5, 2, 2)
    weight = weight.detach().to(memory_format=torch.channels_last)
    slopes = []
    for function in (torch.conv_transpose2d, replaced_transposed):
        y = function(x, weight).square().sum()
        slopes += torch.autograd.grad(y, x)
    assert torch.equal(*slopes)
    assert slopes[1].is_contiguous()


def test_a_backward_computes_what_it_is_asked_for_alone(monkeypatch):
    asked = []
    derivatives = convolution._derivatives

    def recorded(*arguments):
        asked.append(arguments[-1])
        return derivatives(*arguments)

    monkeypatch.setattr(convolution, "_derivatives", recorded)
    x, weight = drawn(1, 5, 4, 4), drawn(2, 5, 3, 3)
    y = replaced(torch.conv2d, x, weight).sum()
    torch.autograd.grad(y, x, create_graph=True)
    y.backward(inputs=[weight], retain_graph=True)
    y.backward()
    samples, weights = [True, False, False], [False, True, False]
    assert asked == [samples, weights, [True, True, False]]


def unchanged(x, weight, **named):
    y = replaced(torch.conv2d, x, weight, **named)
    return type(y.grad_fn).__name__ != "_ConvolutionBackward"


def test_what_cannot_be_replaced_stays_as_it_is():
    x, weight = drawn(1, 1, 4, 4), drawn(2, 1, 3, 3)
    assert unchanged(x, weight, padding="same")
    assert unchanged(x[0], weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert unchanged(x.float(), weight.float())
    assert replaced(torch.conv2d, input=x, weight=weight).shape == (1, 2, 2, 2)
    assert unchanged(x.to(torch.complex128), weight.to(torch.complex128))


@pytest.mark.parametrize(
    "named",
    [
        {"output_padding": 1, "dilation": 2},
        {"padding": 3, "dilation": 3},
        {"bias": torch.ones(2, dtype=torch.float64), "stride": 2},
    ],
)
def test_unusual_transposed_convolutions_are_as_they_were(named):
    x, weight = drawn(2, 4, 3, 3), drawn(4, 2, 3, 3)
    expected = torch.conv_transpose2d(x, weight, **named)
    torch.testing.assert_close(replaced_transposed(x, weight, **named), expected)


def test_a_bias_that_does_not_fit_is_refused_as_ever():
    x, weight = drawn(2, 4, 3, 3), drawn(4, 2, 3, 3)
    with pytest.raises(RuntimeError, match="bias"):
        replaced_transposed(x, weight, drawn(1))


def test_a_region_of_full_precision_under_autocast_keeps_it():
    class Region(nn.Conv2d):
        def forward(self, samples):
            with torch.autocast("cpu", enabled=False):
                return super().forward(samples.float())

    network, reals = nn.Sequential(Region(1, 2, 3), nn.Flatten()), drawn(2, 1, 3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        context = fast_where_it_pays(network, differentiated=True)
        assert not isinstance(context, fast_convolutions)
        gradients = penalty_gradients(network, reals.float().detach(), context)
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_a_batch_of_gradients_passes():
    x, weight = drawn(1, 1, 4, 4), drawn(2, 1, 3, 3).detach()
    ways = torch.randn(3, 1, 2, 2, 2, dtype=torch.float64)

    def slopes(y):
        return torch.autograd.grad(y, x, ways, is_grads_batched=True)[0]

    fast, plain = replaced(torch.conv2d, x, weight), torch.conv2d(x, weight)
    torch.testing.assert_close(slopes(fast), slopes(plain))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
def test_derivatives_of_other_kinds_pass():
    x, weight = drawn(1, 1, 4, 4).detach(), drawn(2, 1, 3, 3).detach()

    def total(x):
        return replaced(torch.conv2d, x, weight).square().sum()

    slope = torch.func.grad(total)(x)
    along = torch.randn_like(x)
    with dual_level():
        change = unpack_dual(total(make_dual(x, along))).tangent
        of_weight = make_dual(weight, torch.ones_like(weight))
        y = replaced(torch.conv2d, x.requires_grad_(), of_weight)
        change_of_weight = unpack_dual(y).tangent
    torch.testing.assert_close(change, (slope * along).sum())
    expected = torch.conv2d(x, torch.ones_like(weight))
    torch.testing.assert_close(change_of_weight, expected)


def pays(network, differentiated=True):
    return isinstance(fast_where_it_pays(network, differentiated), fast_convolutions)


def test_a_network_that_gains_nothing_is_left_alone(way):
    few = way == "by patches"
    discriminator = DCGANDiscriminator([1, 28, 28], 4, "none", spectral_norm=True)
    generator = DCGANGenerator(4, [1, 28, 28], 4, "batch")
    assert pays(discriminator)
    assert not pays(discriminator, differentiated=False)
    assert pays(generator, differentiated=False) == few
    assert pays(discriminator.requires_grad_(False)) == few
    assert not pays(nn.Linear(1, 1))
    compiled = nn.Sequential(nn.Conv2d(1, 1, 3))
    assert pays(compiled)
    compiled.compile(backend="eager")
    assert not pays(nn.Sequential(compiled))
    wrapped = torch.compile(nn.Sequential(nn.Conv2d(1, 1, 3)), backend="eager")
    assert not pays(wrapped)
