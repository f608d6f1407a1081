"""A layer learns from an input that it never sees: w = (.5, .2), x ~ N(0, I).

The loss (w.x - 1)^2 has the gradient 2 (w.x - 1) x, of expectation 2 w = (1, .4) and
total variance 4 (|w|^2 (d + 2) + d) - 4 |w|^2 = 11.48.
"""

import pytest
import torch
from problems import FLOAT

from gan_gradflow.bridges.exact import ExactBridge
from gan_gradflow.bridges.known_statistics import KnownStatistics
from gan_gradflow.critic import Critic

WEIGHT = torch.tensor([0.5, 0.2], dtype=FLOAT)
VARIANCE = 11.48


@pytest.fixture
def unseen():
    return KnownStatistics(torch.zeros(2, dtype=FLOAT), torch.eye(2, dtype=FLOAT))


def gradients_on_the_weights(inputs):
    """The mean gradient of each repetition, from inputs `[repetitions, draws, 2]`."""
    weights = WEIGHT.repeat(len(inputs), 1, 1).requires_grad_()
    outputs = (inputs * weights).sum(2).flatten()
    losses = ExactBridge()(Critic(lambda y: (y - 1) ** 2), outputs)
    (losses.sum() / inputs.shape[1]).backward()
    return weights.grad[:, 0]


def test_matched_draws_give_the_gradient_to_rounding(unseen):
    (found,) = gradients_on_the_weights(unseen.draw(3, matched=True).unsqueeze(0))
    torch.testing.assert_close(found, 2 * WEIGHT)


@pytest.mark.parametrize("num_draws", [1, 10, 1000])
def test_the_error_of_independent_draws_falls_as_one_over_the_root(unseen, num_draws):
    # Six standard errors over 2000 repetitions: a correct mean square error fails with
    # probability 2e-9, and one that is wrong by twice the resolution is caught.
    draws = unseen.draw(2000 * num_draws, matched=False).view(2000, num_draws, 2)
    errors = gradients_on_the_weights(draws) - 2 * WEIGHT
    squares = errors.square().sum(1) * num_draws / VARIANCE
    resolution = 6 * squares.std() / 2000**0.5
    assert resolution < (0.15 if num_draws == 1000 else 0.6)
    assert abs(squares.mean() - 1) < resolution
    assert (errors.mean(0).abs() < 6 * errors.std(0) / 2000**0.5).all()


def test_draws_have_the_known_moments_and_the_shape_of_the_event():
    factor = torch.randn(6, 2, dtype=FLOAT)  # of rank 2
    mean, covariance = torch.randn(3, 2, dtype=FLOAT), factor @ factor.T
    draws = KnownStatistics(mean, covariance).draw(20, matched=True)
    assert draws.shape == (20, 3, 2)
    torch.testing.assert_close(draws.mean(0), mean)
    torch.testing.assert_close(draws.flatten(1).T.cov(correction=0), covariance)


def test_the_moments_can_be_learned():
    mean = torch.zeros(2, dtype=FLOAT).requires_grad_()
    covariance = torch.eye(2, dtype=FLOAT).requires_grad_()
    draws = KnownStatistics(mean, covariance).draw(5, matched=True)
    ((draws @ WEIGHT - 1) ** 2).mean().backward()
    # E (w.x - 1)^2 = w' S w + (w.mu - 1)^2
    torch.testing.assert_close(mean.grad, -2 * WEIGHT)
    torch.testing.assert_close(covariance.grad, WEIGHT.outer(WEIGHT))


@pytest.mark.parametrize(
    ("covariance", "message"),
    [
        (torch.eye(3), r"must be \[2, 2\]"),
        (torch.diag(torch.tensor([1.0, -0.1])), "smallest eigenvalue is -0.1"),
        (torch.tensor([[1.0, 0.5], [0.0, 1.0]]), "not symmetric"),
        (torch.full((2, 2), torch.nan), "NaN"),
    ],
)
def test_what_is_no_covariance_is_refused(covariance, message):
    with pytest.raises(ValueError, match=message):
        KnownStatistics(torch.zeros(2), covariance)
