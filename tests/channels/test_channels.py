"""What every channel of `configs/channel` promises, and what is special about some."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from gan_gradflow.channels.awgn import AWGNChannel
from gan_gradflow.channels.base import ChannelError
from gan_gradflow.channels.constraint import ConstraintChannel
from gan_gradflow.channels.jpeg import JPEGChannel
from gan_gradflow.channels.quantize import QuantizeChannel
from gan_gradflow.channels.simulator import SimulatorChannel
from gan_gradflow.channels.threshold import ThresholdChannel
from gan_gradflow.workers.in_process import InProcess

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = sorted(path.stem for path in (CONFIGS / "channel").glob("*.yaml"))
every_channel = pytest.mark.parametrize("name", NAMES)


def build(name):
    with initialize_config_dir(config_dir=str(CONFIGS), version_base="1.3"):
        return instantiate(compose(overrides=[f"+channel={name}", *MORE[name]]).channel)


def scaled(samples):
    return 3 * samples


HERE = Path(__file__).stem
MORE: dict = dict.fromkeys(NAMES, ()) | {
    "simulator": (
        f"channel.workers.function.path={HERE}.scaled",
        "channel.workers.failures=failures",
        "channel.event_shape=[1,8,8]",
    )
}


def images(n=4, channels=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(2)
    drawn = torch.rand(n, channels, 8, 8, generator=generator, dtype=torch.float64)
    return (2 * drawn - 1).to(dtype)


@every_channel
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_arrives_has_the_shape_and_dtype_that_was_announced(name, dtype):
    channel, x = build(name), images(dtype=dtype)
    y = channel(x)
    assert y.shape[1:] == channel.received_shape(x.shape[1:])
    assert (len(y), y.dtype) == (len(x), dtype)
    assert torch.equal(x, images(dtype=dtype))  # and x is left as it is


@every_channel
def test_a_channel_is_deterministic_only_if_its_traits_say_so(name):
    channel, x = build(name), images()
    same = torch.equal(channel(x), channel(x))
    assert same is channel.traits.deterministic


@every_channel
def test_each_sample_passes_on_its_own(name):
    channel, x = build(name), images()
    if channel.traits.deterministic:
        parts = torch.cat([channel(x[:1]), channel(x[1:])])
        torch.testing.assert_close(channel(x), parts)


@every_channel
def test_the_gradient_is_that_of_what_is_done_or_there_is_none(name):
    channel = build(name)
    x = images(n=1).requires_grad_()
    direction = torch.randn_like(x.detach())
    torch.manual_seed(1)
    y = channel(x)
    assert y.requires_grad is channel.traits.differentiable
    if channel.traits.differentiable:
        weight = torch.arange(y.numel(), dtype=y.dtype).reshape(y.shape)
        (gradient,) = torch.autograd.grad((weight * y).sum(), x)
        step = 1e-4 * direction
        with torch.no_grad():
            ends = []
            for sign in (1, -1):
                torch.manual_seed(1)
                ends.append((weight * channel(x + sign * step)).sum())
        expected = (gradient * step).sum() * 2
        torch.testing.assert_close(ends[0] - ends[1], expected, rtol=1e-4, atol=1e-6)
        assert expected != 0


@every_channel
def test_nothing_in_a_channel_learns(name):
    assert not any(p.requires_grad for p in build(name).parameters())


def test_quantised_elements_are_the_nearest_levels():
    x = torch.tensor([[-2.0, -0.7, -0.6, 0.1, 0.3, 5.0]])
    expected = torch.tensor([[-1, -1, -1 / 3, 1 / 3, 1 / 3, 1]])
    torch.testing.assert_close(QuantizeChannel(2, True, True)(x), expected)
    assert set(QuantizeChannel(1, True, True)(x).tolist()[0]) == {-1.0, 1.0}


def test_a_threshold_leaves_two_values():
    y = ThresholdChannel(0.5, True, True)(torch.tensor([0.5, 0.6, -3.0]))
    assert y.tolist() == [-1, 1, -1]


@pytest.mark.parametrize("name", ["identity", "jpeg", "quantize", "threshold"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_does_not_pass_as_a_number(name, bad):
    x = images()
    x[1, 0, 0, 0] = bad
    y = build(name)(x)
    assert y.isfinite().logical_not().nonzero().tolist() == [[1, 0, 0, 0]]


def test_jpeg_keeps_flat_images_and_loses_more_at_lower_quality():
    flat = torch.full((2, 3, 16, 16), 1 / 127.5 * 100 - 1)
    assert (JPEGChannel(90, False, True)(flat) - flat).abs().max() < 2 / 127.5
    x = images()
    errors = [(JPEGChannel(q, False, True)(x) - x).square().mean() for q in (95, 5)]
    assert 0 < errors[0] < errors[1] / 2


def test_jpeg_refuses_what_is_not_an_image():
    for shape in ([2, 8, 8], [2], [4, 8, 8]):
        with pytest.raises(ValueError, match="JPEG takes images"):
            JPEGChannel(30, False, True)(torch.zeros(1, *shape))


def test_noise_has_its_width_and_is_new_every_time():
    # 100 000 draws: a standard error of 0.2 %; an error of 2 % is caught.
    y = AWGNChannel(0.3, True, False)(torch.zeros(100_000, dtype=torch.float64))
    assert abs(y.std().item() / 0.3 - 1) < 0.014


def test_what_a_constraint_lets_through_obeys_it():
    y = build("constraint")(images())
    torch.testing.assert_close(y.mean((1, 2, 3)), torch.full((4,), -0.74).double())
    assert isinstance(build("constraint"), ConstraintChannel)


def test_a_constraint_counts_what_its_solution_counts():
    channel = build("constraint")
    channel.solution.adjoint.unconverged = 5
    assert channel.figures() == {"unconverged": 5}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: QuantizeChannel(0, True, True), "bits must be"),
        (lambda: JPEGChannel(0, True, True), "quality must be"),
        (lambda: AWGNChannel(-1.0, True, True), "sigma must not"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_tokens_may_become_any_numbers_in_a_simulator(tmp_path):
    half = InProcess(lambda samples: samples / 2, 0, str(tmp_path))
    channel = SimulatorChannel(half, [1], False, False, True)
    assert channel(torch.tensor([[1], [2]])).tolist() == [[0.5], [1.0]]
    assert channel.figures() == {"calls": 2}


def test_outputs_of_another_shape_than_announced_are_an_error(tmp_path):
    function = InProcess(lambda samples: samples, 0, str(tmp_path))
    with pytest.raises(ChannelError, match=r"channel\.event_shape=\[2\]"):
        SimulatorChannel(function, [3], False, False, True)(torch.zeros(4, 2))
