"""A proposal starts where it is told to, and its entropy is weighed."""

import pytest
import torch

from gan_gradflow.metrics.parameters import ParameterError
from gan_gradflow.networks.proposal import GaussianProposal


def test_every_latent_gets_the_same_distribution_from_the_start_given():
    emission = GaussianProposal(1, [2.0, -1.0], [0.5, 3.0])(torch.randn(4, 1))
    assert (emission.batch_shape, emission.event_shape) == ((4,), (2,))
    assert emission.mean.tolist() == [[2.0, -1.0]] * 4
    assert emission.stddev.tolist() == [[0.5, 3.0]] * 4


def test_a_unit_step_of_the_mean_is_one_starting_width():
    proposal = GaussianProposal(1, [2.0, -1.0], [0.5, 3.0])
    torch.nn.init.ones_(proposal.shift)
    assert proposal(torch.zeros(1, 1)).mean.tolist() == [[2.5, 2.0]]


@pytest.mark.parametrize(("mean", "std"), [([1.0], [0.0]), ([1.0], []), ([], [])])
def test_a_start_that_makes_no_sense_is_refused(mean, std):
    with pytest.raises(ValueError, match="give as many of each"):
        GaussianProposal(1, mean, std)


def test_the_error_is_made_of_bias_and_width():
    draws = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    found = ParameterError(2, [1.0, 2.0])(draws)
    assert found["bias"] ** 2 == pytest.approx(1 + 4)
    assert found["width"] == pytest.approx(1)
    assert found["rmse"] ** 2 == pytest.approx(6)
