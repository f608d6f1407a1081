import numpy as np
import pytest
import scipy.linalg
import scipy.special
import torch
from torch.nn import functional

from gan_gradflow.metrics.classifier_features import ClassifierFeatures
from gan_gradflow.metrics.mnist_classifier import MNISTClassifier

COUNT = 400


class Digits:
    """Samples that stand for the reals, stored as floats."""

    event_shape = (1, 28, 28)

    def __init__(self, train, held_out):
        self.train_reals, self.held_out = train, held_out

    def train_floats(self, rows):
        return self.train_reals[rows]

    def held_out_floats(self, rows):
        return self.held_out[rows]


def strokes(count, seed):
    """Blots on black, which the classifier takes for all ten digits."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 1, 4, 4, generator=generator)
    blots = functional.interpolate(coarse, size=20, mode="bicubic", align_corners=True)
    return functional.pad(6 * blots - 3, (4, 4, 4, 4), value=-1).clamp(-1, 1)


@pytest.fixture(scope="module")
def data():
    return Digits(strokes(600, 1), strokes(500, 2))


@pytest.fixture
def metric(data):
    metric = ClassifierFeatures(num_samples=COUNT, min_class_share=0.01)
    metric.prepare(data)
    return metric


def frechet_distance(first, second):
    mean = first.mean(0) - second.mean(0)
    left, right = np.cov(first.T), np.cov(second.T)
    root = scipy.linalg.sqrtm(left @ right + 1e-12 * np.eye(len(left)))
    return mean @ mean + np.trace(left + right - 2 * root.real)


def test_the_distance_is_frechets_formula(metric, data):
    fakes = strokes(COUNT, 3)
    with torch.no_grad():
        features = [
            MNISTClassifier.pretrained()(images).double().numpy()
            for images in (fakes, data.held_out)
        ]
    expected = frechet_distance(*features)
    assert metric(fakes)["frechet_distance"] == pytest.approx(expected, rel=1e-4)


def test_the_held_out_samples_themselves_are_at_distance_zero(data):
    metric = ClassifierFeatures(num_samples=500, min_class_share=0.01)
    metric.prepare(data)
    figures = metric(data.held_out)
    assert figures["frechet_distance"] == pytest.approx(0, abs=1e-3)
    assert figures["class_kl"] == 0


def test_measuring_twice_gives_the_same_figures(metric):
    first = metric(strokes(COUNT, 3))
    metric(strokes(COUNT, 4))
    assert metric(strokes(COUNT, 3)) == first


def test_preparing_again_forgets_the_first_data(metric, data):
    fakes = strokes(COUNT, 3)
    before = metric(fakes)
    metric.prepare(Digits(data.train_reals, -data.held_out))
    assert metric(fakes) != before
    metric.prepare(data)
    assert metric(fakes) == before


def test_fakes_of_one_kind_cover_one_class(metric):
    figures = metric(torch.full((COUNT, 1, 28, 28), -1.0))
    assert figures["class_coverage"] == 0.1


def test_a_class_below_the_least_share_is_not_covered(data):
    fakes, coverage = strokes(COUNT, 3), []
    for share in (1 / COUNT, 0.1):
        metric = ClassifierFeatures(COUNT, min_class_share=share)
        metric.prepare(data)
        coverage.append(metric(fakes)["class_coverage"])
    logits = MNISTClassifier.pretrained().logits(fakes)
    shares = logits.argmax(1).bincount(minlength=10) / COUNT
    assert coverage == [(shares > 0).sum() / 10, (shares >= 0.1).sum() / 10]


def test_class_kl_compares_the_shares_of_fakes_and_held_out_samples(metric, data):
    fakes = strokes(COUNT, 3)
    logits = [MNISTClassifier.pretrained().logits(x) for x in (fakes, data.held_out)]
    assert logits[0].argmax(1).unique().tolist() == list(range(10))
    p, q = (x.argmax(1).bincount(minlength=10).numpy() / len(x) for x in logits)
    assert metric(fakes)["class_kl"] == pytest.approx(
        scipy.special.rel_entr(p, q).sum()
    )


def test_confidence_is_the_mean_of_the_largest_probability(metric):
    fakes = strokes(COUNT, 3)
    probabilities = MNISTClassifier.pretrained().logits(fakes).softmax(1)
    expected = probabilities.amax(1).mean().item()
    assert metric(fakes)["confidence"] == pytest.approx(expected, rel=1e-5)


def test_the_floor_measures_training_samples(metric, data):
    floor, faint = metric.floor(), metric(0.3 * strokes(COUNT, 3))
    assert floor.keys() == faint.keys()
    assert 0 < floor["frechet_distance"] < faint["frechet_distance"]
    assert metric.floor() == floor


def test_measuring_leaves_no_trace(metric):
    fakes = strokes(COUNT, 3).requires_grad_()
    state = torch.get_rng_state()
    metric(fakes)
    metric.floor()
    assert torch.equal(torch.get_rng_state(), state)
    assert fakes.grad is None


def test_autocast_does_not_change_the_figures(metric):
    fakes = strokes(COUNT, 3)
    with torch.autocast("cpu", torch.bfloat16):
        figures = metric(fakes)
    assert figures == metric(fakes)


def test_too_few_samples_for_a_covariance_are_refused():
    with pytest.raises(ValueError, match=r"num_samples is 64, too few .*at least 65"):
        ClassifierFeatures(num_samples=64, min_class_share=0.01)


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_a_least_share_that_makes_no_sense_is_refused(share):
    with pytest.raises(ValueError, match=f"at most 0.1.* got {share}"):
        ClassifierFeatures(num_samples=100, min_class_share=share)


def test_images_of_another_shape_are_refused(metric, data):
    photographs = Digits(data.train_reals, data.held_out)
    photographs.event_shape = (3, 32, 32)
    with pytest.raises(ValueError, match=r"\[3, 32, 32\].*data=mnist, or metrics=none"):
        metric.prepare(photographs)


def clothes(count):
    """Broad blots, which are no digits."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randn(count, 1, 4, 4, generator=generator)
    return functional.interpolate(coarse, size=(28, 28), mode="bilinear").tanh()


def test_data_that_are_not_digits_are_doubted_once(caplog):
    metric = ClassifierFeatures(num_samples=COUNT, min_class_share=0.01)
    metric.prepare(Digits(clothes(500), clothes(500)))
    for _ in range(2):
        metric(strokes(COUNT, 3))
    metric.floor()
    (told,) = caplog.messages
    assert "do not look like digits" in told
    assert "confidence of 0.5" in told
    assert "metrics=none" in told
