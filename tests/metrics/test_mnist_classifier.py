import io

import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

from gan_gradflow.datamodules.mnist import MNISTDataModule
from gan_gradflow.metrics.classifier_features import ClassifierFeatures
from gan_gradflow.metrics.mnist_classifier import (
    WEIGHTS,
    MNISTClassifier,
    doubts_about_digits,
)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return MNISTDataModule(
        root=str(tmp_path_factory.mktemp("data")), event_shape=(1, 28, 28),
        batch_size=64, seed=0, num_iterations=1, batches_per_iteration=1,
    )  # fmt: skip


@pytest.mark.slow
def test_the_shipped_weights_classify_99_percent_of_the_held_out_digits(digits):
    classifier = MNISTClassifier.pretrained().to(memory_format=torch.channels_last)
    images = digits.held_out_floats(slice(None))
    with torch.no_grad():
        logits = torch.cat([classifier.logits(chunk) for chunk in images.split(250)])
    correct = logits.argmax(1) == digits.held_out_labels
    assert correct.double().mean() >= 0.99


@pytest.mark.slow
def test_few_digits_repeated_are_farther_than_many(digits):
    metric = ClassifierFeatures(num_samples=2000, min_class_share=0.01)
    metric.prepare(digits)
    many = digits.train_floats(slice(2000))
    few = digits.train_floats(slice(100)).repeat(20, 1, 1, 1)
    distances = [metric(fakes)["frechet_distance"] for fakes in (many, few)]
    assert distances[1] > 2 * distances[0]


def test_the_weights_are_small():
    assert WEIGHTS.stat().st_size < 1_000_000


def test_the_classifier_comes_frozen_and_in_evaluation_mode():
    classifier = MNISTClassifier.pretrained()
    assert not classifier.training
    assert not any(p.requires_grad for p in classifier.parameters())


def test_logits_are_the_head_of_the_features():
    classifier, images = MNISTClassifier.pretrained(), torch.rand(3, 1, 28, 28)
    features = classifier(images)
    assert features.shape == (3, MNISTClassifier.num_features)
    assert torch.equal(classifier.head(features), classifier.logits(images))


def jpeg(digit):
    file = io.BytesIO()
    to_pil_image(digit).save(file, "JPEG", quality=10)
    return pil_to_tensor(Image.open(file))


@pytest.mark.parametrize("seen_as", ["grey", "black and white", "JPEG"])
def test_digits_are_not_doubted(digits, seen_as):
    pixels = digits.held_out[:500]
    if seen_as == "black and white":
        pixels = (pixels > 127).to(torch.uint8) * 255
    if seen_as == "JPEG":
        pixels = torch.stack([jpeg(digit) for digit in pixels])
    probabilities = MNISTClassifier.pretrained().logits(pixels / 127.5 - 1).softmax(1)
    assert doubts_about_digits(probabilities) is None
