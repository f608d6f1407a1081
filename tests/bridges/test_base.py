"""What the base class lends to every bridge."""

import pytest
import torch

from gan_gradflow.bridges.base import add_weighted, inner, wide


def test_the_proxys_gradient_is_the_pull():
    emission = torch.randn(2, 3, 4, requires_grad=True)
    pull = torch.randn(2, 12)
    inner(pull, emission).sum().backward()
    assert torch.equal(emission.grad, pull.view(2, 3, 4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_product_too_large_for_the_emission_harms_nothing(dtype):
    emission = torch.full((1, 2), 6e4, dtype=dtype, requires_grad=True)
    proxy = inner(torch.full((1, 2), 6e4), emission)
    proxy.sum().backward()
    assert proxy.isfinite().all()
    assert emission.grad.isfinite().all()


def test_a_loss_scale_reaches_the_pull_before_it_is_rounded():
    emission = torch.zeros(1, 2, dtype=torch.float16, requires_grad=True)
    (65536 * inner(torch.full((1, 2), 1e-9), emission)).sum().backward()
    assert emission.grad.tolist() == [[pytest.approx(6.55e-5, rel=1e-2)] * 2]


def test_directions_are_combined_in_full_precision_under_autocast():
    weights, directions = torch.randn(3, 2), torch.randn(3, 2, 5)
    found = torch.zeros(2, 5)
    with torch.autocast("cpu", torch.bfloat16):
        add_weighted(found, weights, directions)
    expected = (weights.double().unsqueeze(-1) * directions.double()).sum(0)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_wide_is_float32_at_least():
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        assert wide(torch.zeros(1, dtype=dtype)).dtype == torch.float32
    assert wide(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64
