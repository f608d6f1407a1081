"""Directions: scale, variance and angle against their formulas.

Monte Carlo runs over the batch: each sample is a replication. A mean is compared with its
formula at six standard errors (a correct family fails with probability 2e-9), and the
standard error is bounded so that the error named in the test is caught.
"""

from functools import cache

import pytest
import torch

from gan_gradflow.bridges import directions as module
from gan_gradflow.bridges.directions import (
    CoordinateDirections,
    GaussianDirections,
    OrthonormalDirections,
    RademacherDirections,
    SphereDirections,
)

DIM, REPLICAS = 10, 100_000
GRADIENT = torch.linspace(-1, 1.5, DIM, dtype=torch.float64)
SQUARE = GRADIENT.dot(GRADIENT)
RANDOM = [
    GaussianDirections,
    OrthonormalDirections,
    RademacherDirections,
    SphereDirections,
]
VARIANCE = {
    GaussianDirections: lambda d, k: (d + 1) / k,
    OrthonormalDirections: lambda d, k: d / k - 1,
    RademacherDirections: lambda d, k: (d - 1) / k,
    SphereDirections: lambda d, k: (d - 1) / k,
}
random = pytest.mark.parametrize("family", RANDOM)
counts = pytest.mark.parametrize("k", [1, 3, 10])


@cache
def drawn(family, k):
    """Replicas of the estimate; tests of its moments share them."""
    torch.manual_seed(0)
    return estimates(family(k), GRADIENT, REPLICAS)


def estimates(directions, gradient, replicas):
    """weight * sum_k <g, u_k> u_k for each replica, on the gradient g."""
    like = gradient.expand(replicas, -1)
    total = sum(
        (block * (block @ gradient).unsqueeze(-1)).sum(0)
        for block in directions.blocks(like)
    )
    return directions.weight(len(gradient)) * total


def assert_mean(values, expected, resolution):
    """An error of twice the resolution is caught with the same certainty."""
    error = 6 * values.std(0) / len(values) ** 0.5
    assert (error < resolution).all()
    assert ((values.mean(0) - expected).abs() <= error + 1e-9).all()


@counts
@random
def test_the_expectation_is_the_gradient(family, k):
    assert_mean(drawn(family, k), GRADIENT, resolution=0.08)


@counts
@random
def test_the_scale_is_one(family, k):
    assert_mean(drawn(family, k) @ GRADIENT / SQUARE, 1, resolution=0.03)


@counts
@random
def test_the_relative_variance(family, k):
    square = drawn(family, k).square().sum(1) / SQUARE
    assert_mean(square / (1 + VARIANCE[family](DIM, k)), 1, resolution=0.04)


@random
def test_one_direction_has_squared_cosine_1_over_d(family):
    found = drawn(family, 1)
    square = torch.cosine_similarity(found, GRADIENT.expand_as(found)).square()
    assert_mean(square * DIM, 1, resolution=0.03)


@counts
def test_orthonormal_directions_have_squared_cosine_k_over_d(k):
    found = drawn(OrthonormalDirections, k)
    square = torch.cosine_similarity(found, GRADIENT.expand_as(found)).square()
    assert_mean(square * DIM / k, 1, resolution=0.03)


@pytest.mark.parametrize("k", [4, 20])
@pytest.mark.parametrize(
    "family", [f for f in RANDOM if f is not OrthonormalDirections]
)
def test_the_squared_cosine_in_many_dimensions(family, k):
    # Corrections are O(1 / d), under a tenth of the resolution.
    gradient = torch.linspace(-1, 1.5, 200, dtype=torch.float64)
    found = estimates(family(k), gradient, replicas=8000)
    square = torch.cosine_similarity(found, gradient.expand_as(found)).square()
    assert_mean(square * (1 + VARIANCE[family](200, k)), 1, resolution=0.1)


@counts
def test_orthonormal_directions_are_orthogonal_and_of_length_root_d(k):
    (block,) = OrthonormalDirections(k).blocks(GRADIENT.expand(7, -1))
    gram = torch.einsum("ibd,jbd->bij", block, block)
    expected = DIM * torch.eye(k, dtype=torch.float64).expand_as(gram)
    torch.testing.assert_close(gram, expected)


def test_orthonormal_directions_are_exact_at_k_equal_d():
    found = estimates(OrthonormalDirections(DIM), GRADIENT, replicas=3)
    torch.testing.assert_close(found, GRADIENT.expand(3, -1))


def test_more_orthonormal_directions_than_dimensions_are_an_error():
    directions = OrthonormalDirections(DIM + 1)
    with pytest.raises(ValueError, match="at most 10"):
        directions.count(DIM)
    with pytest.raises(ValueError, match="at most 10"):
        list(directions.blocks(GRADIENT.expand(2, -1)))


def test_sphere_directions_have_length_root_d():
    block = SphereDirections(5).draw(0, 5, torch.empty(3, 2, 4))
    length = block.flatten(2).norm(dim=-1)
    torch.testing.assert_close(length, torch.full((5, 3), 8**0.5))


def test_rademacher_directions_are_signs():
    block = RademacherDirections(5).draw(0, 5, torch.empty(3, 2, 4))
    assert set(block.unique().tolist()) == {-1.0, 1.0}


def test_coordinates_are_the_axes_for_each_sample():
    like = torch.empty(3, 2, 4)
    (block,) = CoordinateDirections().blocks(like)
    axes = torch.eye(8).view(8, 1, 2, 4).expand(8, 3, 2, 4)
    torch.testing.assert_close(block, axes)


@pytest.mark.parametrize("family", [*RANDOM, lambda k: CoordinateDirections()])
def test_blocks_are_bounded_and_complete(family, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_ELEMENTS", 3 * 8 * 2)
    blocks = list(family(8).blocks(torch.empty(3, 8)))
    assert sum(len(block) for block in blocks) == 8
    # Orthogonal directions are drawn together.
    assert len(blocks) == (1 if family is OrthonormalDirections else 4)


@counts
@random
def test_a_direction_and_its_opposite_are_as_likely(family, k):
    # Forward differences rely on it: any odd moment would be a bias of order h.
    block = torch.cat(list(family(k).blocks(GRADIENT.expand(REPLICAS // 2, -1))))
    assert_mean(block.transpose(0, 1).flatten(1), 0, resolution=0.04)


@random
def test_no_two_samples_share_a_direction(family):
    (block,) = family(2).blocks(torch.empty(2, 64))
    assert not torch.equal(block[:, 0], block[:, 1])
    assert not torch.equal(block[0], block[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@random
def test_directions_have_the_dtype_and_shape_of_the_emission(family, dtype):
    like = torch.empty(3, 2, 4, dtype=dtype)
    (block,) = family(5).blocks(like)
    assert block.dtype == dtype
    assert block.shape == (5, 3, 2, 4)
    assert block.isfinite().all()


@random
def test_no_directions_are_an_error(family):
    with pytest.raises(ValueError, match="at least 1, got 0"):
        family(0)
