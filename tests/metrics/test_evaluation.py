"""An evaluation's figures are those of training, and its errors are those of redrawing."""

import pytest
import torch
from torch import nn

from gan_gradflow.metrics.evaluation import FeatureEvaluation
from gan_gradflow.metrics.extractor import Extractor
from gan_gradflow.metrics.feature_cache import FeatureCache


class Cloud:
    """Gaussian reals in the plane."""

    event_shape = (2,)

    def __init__(self, num_train: int, num_held_out: int) -> None:
        self.train_reals = torch.randn(num_train, 2)
        self.held_out = torch.randn(num_held_out, 2)

    def train_floats(self, rows):
        return self.train_reals[rows]

    def held_out_floats(self, rows):
        return self.held_out[rows]


def evaluation(data, **settings) -> FeatureEvaluation:
    return FeatureEvaluation(
        Extractor(nn.Flatten(), (2,)),
        data,
        FeatureCache(None),
        **{
            "max_train": 10**6,
            "neighbours": 3,
            "num_resamples": 3,
            "num_subsets": 2,
            "subset_size": 50,
            "min_class_share": 0.1,
        }
        | settings,
    )


def test_the_bootstrap_error_is_the_deviation_over_new_fakes() -> None:
    # D = |mu|^2 + ..., mu = (1, 0) with deviation n^-1/2: the deviation of D is 2 n^-1/2.
    # 200 resamples know it to 5 %; dividing by n again, or resampling pairs, is 40 % off.
    measure = evaluation(Cloud(500, 5000), num_resamples=200)
    fakes = torch.randn(400, 2) + torch.tensor([1.0, 0.0])
    assert measure(fakes).error["frechet_distance"] == pytest.approx(0.1, rel=0.3)


def test_fakes_like_the_reals_score_as_the_floor() -> None:
    found = evaluation(Cloud(2000, 1000))(torch.randn(500, 2))
    assert found.figures.keys() == found.floor.keys()
    for name in ("precision", "recall", "coverage", "nearer_than_reals"):
        assert found.figures[name] == pytest.approx(found.floor[name], abs=0.1), name
    assert found.figures["frechet_distance"] < 0.1


def test_copies_are_found_with_the_rows_they_are_copied_from() -> None:
    data = Cloud(300, 200)
    found = evaluation(data)(data.train_reals[40:80])
    assert found.neighbours.tolist() == list(range(40, 80))
    assert found.figures["copied"] == 1
    assert found.shares is None


def test_no_more_training_samples_are_searched_than_asked_for() -> None:
    data = Cloud(300, 200)
    found = evaluation(data, max_train=50)(data.train_reals[:40])
    assert len(set(found.neighbours.tolist())) < 40
    assert found.figures["copied"] < 1


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"num_resamples": 1}, "num_resamples must be at least 2, got 1"),
        ({"max_train": 0}, "max_train must be at least 1, got 0"),
        ({"neighbours": 200}, "neighbours is 200.*no more than 200 reals"),
        ({"subset_size": 1}, "subset_size at least 2"),
    ],
)
def test_settings_out_of_range_are_named(settings, told) -> None:
    with pytest.raises(ValueError, match=told):
        evaluation(Cloud(300, 200), **settings)


def test_a_floor_that_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match=r"num_samples is 301, .* there are 300"):
        evaluation(Cloud(300, 200))(torch.randn(301, 2))
