"""The gradient-flow monitor: what it logs is right, and the run does not notice it."""

from types import SimpleNamespace

import lightning as L
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from gan_gradflow.callbacks.gradient_flow import GradientFlow, _named
from gan_gradflow.metrics.gradient_fidelity import fidelity

EVERY = "callbacks.gradient_flow.every_n_iterations"
BRIDGES = {
    "adaptive_difference": ["bridge=adaptive_difference"],
    "moving_average": ["bridge=score_function", "bridge/baseline=moving_average"],
    "relax": ["bridge=relax"],
    "adaptive": ["bridge=finite_difference", "queries=adaptive", "queries.warm_up=0"],
}


def scalars(folder) -> dict[str, list[float]]:
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {
        tag: [event.value for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


@pytest.mark.parametrize("bridge", BRIDGES)
def test_a_run_is_the_same_with_it_and_without(train, tmp_path, bridge) -> None:
    states = []
    for name, interval in (("with", 1), ("without", 1000)):
        options = (f"run_name={name}", f"{EVERY}={interval}")
        assert train(*BRIDGES[bridge], *options).code == 0
        path = tmp_path / "outputs" / name / "checkpoints/last.ckpt"
        states.append(torch.load(path, weights_only=True))
    (seen, weights), (alone, expected) = ((s, s["state_dict"]) for s in states)
    assert all(torch.equal(weights[key], expected[key]) for key in expected)
    assert seen["gan_gradflow"]["queries"] == alone["gan_gradflow"]["queries"]
    logged = [scalars(tmp_path / "outputs" / name) for name in ("with", "without")]
    assert logged[0]["loss/generator"] == logged[1]["loss/generator"]


def test_its_queries_are_counted_apart_and_not_against_the_budget(
    train, tmp_path
) -> None:
    options = ("bridge=finite_difference", "critic.budget=640", f"{EVERY}=1")
    assert train(*options).code == 0
    logged = scalars(tmp_path / "outputs/short")
    assert logged["critic/queries"][-1] == 4 * 20 * 8
    # two pulls of 8 queries for each sample, and one for the exact gradient
    assert logged["gradient_flow/queries"] == [340.0, 680.0, 1020.0, 1360.0]


def test_the_exact_bridge_is_the_reference(train, tmp_path) -> None:
    assert train("bridge=exact", f"{EVERY}=2").code == 0
    logged = scalars(tmp_path / "outputs/short")
    for what in ("pull", "parameters"):
        assert logged[f"gradient_flow/{what}_cosine"] == pytest.approx([1, 1])
        assert logged[f"gradient_flow/{what}_scale"] == pytest.approx([1, 1])
        assert logged[f"gradient_flow/{what}_noise"] == [0, 0]
    assert "compared with: the exact gradient" in train_log(tmp_path)


def test_differences_along_all_coordinates_are_nearly_exact(train, tmp_path) -> None:
    options = ("bridge=finite_difference", "bridge/directions=coordinate")
    assert train(*options, "bridge.central=true", f"{EVERY}=2").code == 0
    logged = scalars(tmp_path / "outputs/short")
    assert logged["gradient_flow/pull_cosine"] == pytest.approx([1, 1], abs=1e-2)
    assert logged["gradient_flow/pull_scale"] == pytest.approx([1, 1], abs=1e-2)


def test_without_a_gradient_few_coordinates_are_the_reference(train, tmp_path) -> None:
    options = ("bridge=finite_difference", "channel=quantize")
    assert train(*options, f"{EVERY}=2").code == 0
    assert "central differences along all 2 coordinates" in train_log(tmp_path)


def test_a_reference_of_zero_is_told_and_ends_nothing(train, tmp_path) -> None:
    options = ("bridge=finite_difference", "channel=quantize", "channel.bits=1")
    assert train(*options, f"{EVERY}=2").code == 0
    logged = scalars(tmp_path / "outputs/short")
    assert logged["gradient_flow/reference_norm"] == [0, 0]
    assert "gradient_flow/pull_cosine" not in logged


def test_over_a_noisy_channel_the_exact_gradient_has_noise_and_no_bias(
    train, tmp_path
) -> None:
    options = ("channel=awgn", "channel.sigma=0.3", "max_iterations=60", f"{EVERY}=1")
    assert train("bridge=exact", *options).code == 0
    assert "the exact gradient, the mean of 2" in train_log(tmp_path)
    logged = scalars(tmp_path / "outputs/short")
    assert min(logged["gradient_flow/pull_noise"]) > 0
    biases = torch.tensor(logged["gradient_flow/pull_squared_bias"])
    # Errors of a batch's figures are a few times larger than of their mean over 60.
    assert biases.mean().abs() < 4 * biases.std() / 60**0.5
    assert biases.mean() < 0.05


def test_an_equation_is_compared_with_itself_and_its_bias_left_open(
    train, tmp_path
) -> None:
    assert train("bridge=implicit", f"{EVERY}=2").code == 0
    assert "says nothing of a bias" in train_log(tmp_path)
    assert "gradient_flow/pull_scale" not in scalars(tmp_path / "outputs/short")


def test_sequences_have_no_place_for_a_pull_and_are_measured_on_the_parameters(
    cli, tmp_path
) -> None:
    short = ("data.vocabulary=50", "data.event_shape=[10]", "max_iterations=3")
    off = ("callbacks.likelihood=null", "metrics=none", "trainer.log_every_n_steps=1")
    options = (*short, *off, f"{EVERY}=1", "run_name=short")
    result = cli("train", "experiment=oracle_sequences", *options)
    assert result.code == 0, result.err
    assert "says nothing of a bias" in train_log(tmp_path)
    logged = scalars(tmp_path / "outputs/short")
    assert len(logged["gradient_flow/parameters_snr"]) == 3
    assert not {"gradient_flow/pull_snr", "gradient_flow/reference_norm"} & set(logged)
    assert "gradient_flow/parameters_scale" not in logged  # of its own bias it is blind


def train_log(tmp_path) -> str:
    return (tmp_path / "outputs/short/train.log").read_text()


def test_a_reference_that_is_all_noise_leaves_the_signal_to_noise_ratio() -> None:
    draws, noise = torch.tensor([[[1.0, 0]], [[0, 1]]]), torch.eye(2).unsqueeze(1)
    found = fidelity(draws, torch.stack([noise[0], -noise[0]]))
    assert set(_named("pull", found, blind=True)) == {"pull_snr"}
    found = fidelity(draws, 10 + torch.stack([noise[0], -noise[0]]))
    assert set(_named("pull", found, blind=True)) == {
        "pull_snr",
        "pull_cosine",
        "pull_noise",
    }


def test_an_update_is_measured_by_the_weights_it_moves() -> None:
    game = L.LightningModule()
    for name in ("generator", "discriminator"):
        player = nn.Module()
        player.network = nn.Linear(2, 2)
        setattr(game, name, player)
    monitor = GradientFlow(every_n_iterations=1, num_draws=2, seed=1)
    monitor.on_train_batch_start(SimpleNamespace(global_step=0), game)
    with torch.no_grad():
        game.generator.network.weight *= 1.25
    sizes = monitor._update_sizes(game)
    assert sizes["update_to_weight/generator/weight"] == pytest.approx(0.25)
    assert sizes["update_to_weight/discriminator/weight"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, 2, 1), "every_n_iterations"), ((1, 1, 1), "num_draws must be at least 2")],
)
def test_a_number_out_of_range_is_an_error(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        GradientFlow(*arguments)
