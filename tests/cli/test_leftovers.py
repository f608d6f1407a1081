"""What an experiment sets for an option does not stand in the way of another option."""

import pytest
from hydra import compose, initialize_config_dir

from gan_gradflow.cli import CONFIG_DIR
from gan_gradflow.cli.errors import ConfigError
from gan_gradflow.cli.train import RUN
from gan_gradflow.cli.validate import validate


def checked(*overrides: str, config_dir: str = str(CONFIG_DIR)):
    with initialize_config_dir(config_dir, version_base="1.3"):
        cfg = compose("train", list(overrides))
        cfg.run_name, cfg.run_dir, cfg.run_overrides = "a", "b", list(overrides)
        del cfg.resume, cfg.allow_changes, cfg.trust
        return validate(cfg, RUN)


@pytest.mark.parametrize(
    ("experiment", "choice", "gone"),
    [
        ("ring", "penalty=none", "gamma"),
        ("ring", "penalty=lazy_r1", "gamma"),
        ("avo_poisson", "bridge=exact", "num_draws"),
        ("avo_poisson", "channel=identity", "workers"),
        ("avo_poisson", "generator=mlp", "std"),
        ("stacked_mnist_100", "metrics=none", "num_samples"),
    ],
)
def test_another_option_is_taken_without_what_only_the_first_takes(
    experiment, choice, gone
) -> None:
    config = checked(f"experiment={experiment}", choice)
    assert gone not in config[choice.partition("=")[0]]


def test_data_of_another_kind_leave_the_simulator_behind() -> None:
    chosen = ("data=ring", "channel=identity", "metrics=modes")
    assert checked("experiment=avo_poisson", *chosen)["data"]["event_shape"] == [2]


def test_what_the_other_option_takes_too_is_kept() -> None:
    assert checked("experiment=ring", "penalty=r1")["penalty"]["gamma"] == 0.01


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("penalty.gamma=3", "penalty.gamma"),
        ("+penalty.gama=3", "penalty.gama"),
    ],
)
def test_what_was_typed_is_refused(typed, key) -> None:
    with pytest.raises(ConfigError, match=f"no key {key}: .*add '~{key}'"):
        checked("experiment=ring", "penalty=none", typed)
