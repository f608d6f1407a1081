"""Any network can be the extractor; one that does not fit is refused in words."""

import pytest
import torch
from torch import nn

from gan_gradflow.metrics.extractor import Extractor
from gan_gradflow.metrics.mnist_classifier import MNISTClassifier


def flat(features: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, features))


def test_images_are_cut_and_vectors_are_not() -> None:
    images = Extractor(nn.Flatten(), (1, 2, 2))(torch.full((3, 1, 2, 2), 5.0))
    vectors = Extractor(nn.Flatten(), (2,))(torch.full((3, 2), 5.0))
    assert (images.max(), vectors.max()) == (1, 5)


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (nn.Identity(), r"returned \[2, 1, 2, 2\] for 2 samples .* \[2, features\]"),
        (nn.Flatten(0), r"returned \[8\]"),
        (nn.Linear(7, 2), r"Linear cannot look at samples of \[1, 2, 2\]"),
    ],
)
def test_an_extractor_that_does_not_fit_is_refused(network, told) -> None:
    with pytest.raises(ValueError, match=told):
        Extractor(network, (1, 2, 2))


def test_a_head_on_the_features_makes_a_classifier() -> None:
    digits = Extractor(MNISTClassifier.pretrained(), (1, 28, 28))
    assert digits.is_classifier
    assert (
        digits.probabilities(torch.zeros(3, 64)).sum(1).allclose(torch.ones(3).double())
    )
    assert not Extractor(flat(3), (1, 2, 2)).is_classifier


def test_the_fingerprint_follows_weights_buffers_and_structure() -> None:
    network = nn.Sequential(flat(3), nn.BatchNorm1d(3))
    prints = {Extractor(network, (1, 2, 2)).fingerprint()}
    assert Extractor(network, (1, 2, 2)).fingerprint() in prints
    network[0][1].weight.data[0, 0] += 1e-6
    prints.add(Extractor(network, (1, 2, 2)).fingerprint())
    network[1].running_mean += 1
    prints.add(Extractor(network, (1, 2, 2)).fingerprint())
    network.append(nn.Tanh())
    prints.add(Extractor(network, (1, 2, 2)).fingerprint())
    assert len(prints) == 4
