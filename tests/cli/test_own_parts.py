"""A user's own parts: what their classes do not declare is told before the run."""

import pytest

from gan_gradflow.bridges.base import GradientBridge
from gan_gradflow.metrics.base import SampleQuality
from gan_gradflow.objectives.base import Objective
from gan_gradflow.objectives.penalties import Penalty


class SilentBridge(GradientBridge):
    """Exact, and without traits."""

    def estimate(self, critic, emission):
        losses = critic(emission)
        return losses, losses

    def queries_per_sample(self, dim):
        return 1


class SilentObjective(Objective):
    """Least squares that do not say whether they pair."""

    def discriminator_losses(self, real_scores, fake_scores):
        return (real_scores - 1) ** 2 + fake_scores**2

    def generator_losses(self, fake_scores, real_scores):
        return (fake_scores - 1) ** 2


class SilentPenalty(Penalty):
    """Nothing, on nobody knows what."""

    def __call__(self, *args, **kwargs):
        return 0


class SilentQuality(SampleQuality):
    """Figures without a main one."""

    def __init__(self):
        super().__init__(100)

    def prepare(self, data): ...

    def measure(self, fakes):
        return {}

    def floor(self):
        return {}


@pytest.mark.parametrize(
    ("group", "part", "missing"),
    [
        ("bridge", SilentBridge, "`traits`, which every GradientBridge declares"),
        ("objective", SilentObjective, "`paired`, which every Objective declares"),
        ("penalty", SilentPenalty, "`on_reals`, which every Penalty declares"),
        ("metrics", SilentQuality, "`primary`, which every SampleQuality declares"),
    ],
)
def test_what_a_class_does_not_declare_is_named(cli, tmp_path, group, part, missing):
    folder = tmp_path / "mine" / group
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text(f"_target_: {__name__}.{part.__name__}\n")
    options = ("--config-dir", "mine", f"{group}=own", "data.num_train=500")
    result = cli("train", "experiment=ring", *options)
    assert result.code == 2
    assert f"{group}: {part.__name__} has no {missing}" in result.err
    assert not list((tmp_path / "outputs").glob("*"))
