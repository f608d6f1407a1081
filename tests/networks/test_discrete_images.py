"""Images of drawn pixels."""

import pytest
import torch

from gan_gradflow.networks.discrete_images import (
    BernoulliGenerator,
    CategoricalGenerator,
)
from gan_gradflow.networks.mlp import MLPGenerator


def numbers(*event):
    return MLPGenerator(2, event, 8, 1, "none", "tanh")


def test_bernoulli_pixels_have_the_chances_of_their_logits():
    generator = BernoulliGenerator(numbers(1, 2, 2), 3.0)
    z = torch.randn(5, 2)
    emission = generator(z)
    assert (emission.batch_shape, emission.event_shape) == ((5,), (1, 2, 2))
    torch.testing.assert_close(emission.mean, (3 * generator.network(z)).sigmoid())
    assert set(emission.sample().flatten().tolist()) <= {0.0, 1.0}


def test_categorical_pixels_take_every_level():
    generator = CategoricalGenerator(numbers(6, 4, 4), [2, 4, 4], 1.0)
    emission = generator(torch.randn(50, 2))
    assert (emission.batch_shape, emission.event_shape) == ((50,), (2, 4, 4))
    assert generator.levels == 3
    assert set(emission.sample().flatten().tolist()) == {0, 1, 2}
    emission.log_prob(emission.sample()).sum().backward()


@pytest.mark.parametrize("made", [(1, 4, 4), (3, 4, 4), (4, 5, 5)])
def test_levels_that_do_not_fit_the_image_are_refused(made):
    with pytest.raises(ValueError, match="at least two levels"):
        CategoricalGenerator(numbers(*made), [2, 4, 4], 1.0)


def test_a_gain_is_positive():
    with pytest.raises(ValueError, match="gain must be positive"):
        BernoulliGenerator(numbers(2), 0.0)
