"""Roots of covariances, and noise without sampling error in its first two moments."""

import pytest
import torch
from problems import FLOAT

from gan_gradflow.bridges.moments import (
    Moments,
    deviation,
    draw_surrogates,
    matched_noise,
    root,
)


def test_a_root_squares_to_the_covariance_and_has_its_derivative():
    factor = torch.randn(4, 6, dtype=FLOAT)
    covariance = (factor @ factor.T).requires_grad_()
    weight = torch.randn(4, 4, dtype=FLOAT)
    square = root(covariance) @ root(covariance).T
    (found,) = torch.autograd.grad((weight * square).sum(), covariance)
    torch.testing.assert_close(square, covariance)
    torch.testing.assert_close(found + found.T, weight + weight.T)


@pytest.mark.parametrize("values", [[1.0, 1.0, 1.0], [2.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
def test_a_root_has_a_finite_derivative_at_repeated_and_missing_variances(values):
    covariance = torch.tensor(values, dtype=FLOAT).diag().requires_grad_()
    found = root(covariance)
    (gradient,) = torch.autograd.grad(found.square().sum(), covariance)
    torch.testing.assert_close(found @ found.T, covariance)
    assert gradient.isfinite().all()


@pytest.mark.parametrize(("draws", "columns", "leading"), [(9, 8, 0), (9, 20, 8)])
def test_matched_noise_is_white_to_rounding(draws, columns, leading):
    noise = matched_noise(torch.randn(draws, columns, dtype=FLOAT), leading)
    white = noise[:, :8]
    zero, one = torch.zeros(columns, dtype=FLOAT), torch.ones(columns, dtype=FLOAT)
    torch.testing.assert_close(noise.mean(0), zero)
    torch.testing.assert_close(deviation(noise), one)
    torch.testing.assert_close(white.T @ white / draws, torch.eye(8, dtype=FLOAT))


def test_matched_noise_keeps_the_rest_apart_from_the_leading_columns():
    noise = matched_noise(torch.randn(10, 30, dtype=FLOAT), num_leading=3)
    cross = noise[:, :3].T @ noise[:, 3:]
    torch.testing.assert_close(cross, torch.zeros(3, 27, dtype=FLOAT))


def test_two_draws_are_never_matched():
    noise = torch.randn(2, 3, dtype=FLOAT)
    assert matched_noise(noise, num_leading=1).equal(noise)


def test_too_few_draws_cannot_be_matched():
    moments = Moments(torch.zeros(3), torch.eye(3), None)
    with pytest.raises(ValueError, match="draw at least 4, or set matched to false"):
        draw_surrogates(moments, 3, matched=True)


def test_surrogates_have_the_covariance_of_factor_and_scale():
    mean, factor = torch.randn(4, dtype=FLOAT), torch.randn(4, 2, dtype=FLOAT)
    scale = torch.rand(4, dtype=FLOAT)
    surrogates = draw_surrogates(Moments(mean, factor, scale), 50, matched=True)
    expected = factor @ factor.T + scale.square().diag()
    torch.testing.assert_close(surrogates.mean(0), mean)
    torch.testing.assert_close(surrogates.T.cov(correction=0), expected)
