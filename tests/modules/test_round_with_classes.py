"""Classes in the round: the same one for a real, its fake, its score and its statistics."""

from collections import Counter

import pytest
import torch
from rounds import BRIDGES, TinyData, TinyDiscriminator, make_module, play
from torch import nn

from gan_gradflow.bridges.statistics import DiagonalStatistics
from gan_gradflow.bridges.surrogate_input import SurrogateInputBridge
from gan_gradflow.datamodules.base import Batch
from gan_gradflow.objectives.relativistic import RelativisticObjective

CLASSES = 3


class ClassGenerator(nn.Module):
    """Fakes whose first element is their class."""

    latent_dim, num_classes, event_shape = 3, CLASSES, (4,)

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, latents, labels):
        return torch.cat([labels.unsqueeze(1).to(latents), self.layer(latents)], dim=1)


class ClassDiscriminator(nn.Module):
    """Keeps the classes it is shown samples of, beside the samples."""

    num_classes = CLASSES

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)
        self.seen = []

    def forward(self, samples, labels):
        self.seen.append((samples.detach().clone(), labels.clone()))
        return self.layer(samples).squeeze(-1)


class Labelled(TinyData):
    """Reals whose first element is their class."""

    def __init__(self, num_iterations, n_critic=1):
        super().__init__(num_iterations, n_critic)
        self.labels = torch.arange(self.reals[..., 0].numel()) % CLASSES
        self.labels = self.labels.view(self.reals.shape[:-1])
        self.reals[..., 0] = self.labels

    def __iter__(self):
        return map(Batch, self.reals, self.labels)


@pytest.fixture(autouse=True)
def _labelled(monkeypatch):
    monkeypatch.setattr("rounds.TinyData", Labelled)


def per_class():
    return SurrogateInputBridge(DiagonalStatistics(), 2, matched=True, per_class=True)


def conditional(bridge=None, **settings):
    return make_module(
        bridge,
        generator=ClassGenerator(),
        discriminator=ClassDiscriminator(),
        **settings,
    )


@pytest.mark.parametrize("bridge", BRIDGES)
@pytest.mark.parametrize("objective", [None, RelativisticObjective()])
def test_every_sample_is_scored_as_of_its_class(bridge, objective, tmp_path):
    module = conditional(BRIDGES[bridge](), objective=objective, n_critic=2)
    play(module, 2, tmp_path)
    seen = module.discriminator.network.seen
    assert len(seen) > 4
    for samples, labels in seen:
        assert torch.equal(samples[:, 0].round().long(), labels)


def test_statistics_of_each_class_cross_apart(tmp_path):
    module = conditional(per_class())
    play(module, 1, tmp_path)
    for samples, labels in module.discriminator.network.seen:
        torch.testing.assert_close(samples[:, 0], labels.float())


def test_statistics_of_classes_need_a_generator_that_makes_classes(tmp_path):
    with pytest.raises(ValueError, match="generator=conditional_dcgan"):
        play(make_module(per_class()), 1, tmp_path)


def test_a_conditional_discriminator_needs_a_conditional_generator():
    with pytest.raises(ValueError, match="fakes of this generator have none"):
        make_module(discriminator=ClassDiscriminator())


def test_a_discriminator_needs_every_class_of_the_generator():
    fewer = ClassDiscriminator()
    fewer.num_classes = 2
    with pytest.raises(ValueError, match=r"is 2, and generator.num_classes 3; make"):
        make_module(generator=ClassGenerator(), discriminator=fewer)


def test_a_conditional_generator_may_face_a_plain_discriminator(tmp_path):
    discriminator = TinyDiscriminator()
    module = make_module(generator=ClassGenerator(), discriminator=discriminator)
    play(module, 1, tmp_path)
    assert discriminator.seen


def test_a_batch_without_labels_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("rounds.TinyData", TinyData)
    with pytest.raises(ValueError, match="a batch has no labels"):
        play(conditional(), 1, tmp_path)


def test_samples_are_of_the_classes_asked_for():
    generator = conditional().generator
    labels = torch.tensor([2, 0, 0, 1])
    fakes = generator.sample(torch.randn(4, 3), averaged=True, labels=labels)
    assert fakes[:, 0].tolist() == labels.tolist()


def test_unless_asked_classes_are_as_frequent_as_in_the_data():
    generator = conditional().generator
    generator.know_classes(torch.tensor([0, 0, 0, 0, 0, 2, 2, 2, 2, 1]))
    for size in (10, 100, 1000):  # any first part is close to the shares
        fakes = generator.sample(torch.randn(size, 3), averaged=True)
        counts = Counter(fakes[:, 0].int().tolist())
        for label, share in enumerate((0.5, 0.1, 0.4)):
            assert abs(counts[label] - share * size) <= 2


def test_the_frequency_of_the_classes_is_in_the_checkpoint():
    first, second = conditional(), conditional()
    first.generator.know_classes(torch.tensor([0, 1, 1, 2]))
    second.load_state_dict(first.state_dict())
    assert second.generator.class_shares.tolist() == [0.25, 0.5, 0.25]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "the data have no labels"),
        (torch.tensor([0, 3]), "labels from 0 to 3; use generator.num_classes=4"),
    ],
)
def test_data_without_the_generators_classes_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        conditional().generator.know_classes(labels)
    make_module().generator.know_classes(labels)  # is not asked for classes
