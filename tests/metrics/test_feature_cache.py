"""Features are computed once, and never taken for those of anything else."""

import pytest
import torch
from torch import nn

from gan_gradflow.metrics.extractor import Extractor
from gan_gradflow.metrics.feature_cache import FeatureCache


class Counting(nn.Module):
    """Knows how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.calls = nn.Parameter(torch.ones(())), 0

    def forward(self, samples):
        self.calls += 1
        return self.scale * samples.flatten(1)


@pytest.fixture
def extractor():
    return Extractor(Counting(), (2,))


def chunks(samples, size=2):
    return lambda: iter(samples.split(size))


def test_the_network_is_asked_once(extractor, tmp_path) -> None:
    cache, samples = FeatureCache(tmp_path / "new"), torch.randn(4, 2)
    first = cache.features(extractor, chunks(samples))
    asked = extractor.network.calls
    assert torch.equal(cache.features(extractor, chunks(samples, 3)), first)
    assert extractor.network.calls == asked
    assert torch.equal(first, samples)


def test_whatever_changes_the_features_changes_the_key(extractor) -> None:
    cache, samples = FeatureCache(None), torch.randn(4, 2)
    keys = {cache.key(extractor, chunks(samples))}
    for other in (samples[:3], samples.flip(0), samples + 1e-6, samples.view(2, 2, 2)):
        keys.add(cache.key(extractor, chunks(other)))
    extractor.network.scale.data.mul_(2)
    keys.add(cache.key(extractor, chunks(samples)))
    extractor.is_image = True
    keys.add(cache.key(extractor, chunks(samples)))
    assert len(keys) == 7


def test_a_damaged_file_is_computed_anew(extractor, tmp_path) -> None:
    cache, samples = FeatureCache(tmp_path), torch.randn(4, 2)
    first = cache.features(extractor, chunks(samples))
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-3])
    assert torch.equal(cache.features(extractor, chunks(samples)), first)
    assert torch.equal(cache.features(extractor, chunks(samples)), first)
    assert list(tmp_path.iterdir()) == [file]


def test_without_a_folder_nothing_is_kept(extractor, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    FeatureCache(None).features(extractor, chunks(torch.randn(4, 2)))
    assert not list(tmp_path.iterdir())
