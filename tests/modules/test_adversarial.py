"""The round: who changes when, what is counted, what crosses, and when it stops."""

import csv
import math
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from rounds import BRIDGES, TinyDiscriminator, TinyGenerator, make_module, play
from torch import nn

from gan_gradflow.bridges.adjoint.gmres import GMRESAdjoint
from gan_gradflow.bridges.equations.constraints import MassConservation
from gan_gradflow.bridges.equations.equilibrium import EquilibriumEquation
from gan_gradflow.bridges.equations.projection import ProjectionEquation
from gan_gradflow.bridges.exact import ExactBridge
from gan_gradflow.bridges.exact_one_stage import ExactOneStageBridge
from gan_gradflow.bridges.implicit import ImplicitBridge
from gan_gradflow.modules.latents import iteration_latents
from gan_gradflow.modules.nonfinite import NonFiniteError
from gan_gradflow.networks.mlp import MLPDiscriminator
from gan_gradflow.networks.packed import PackedDiscriminator
from gan_gradflow.objectives.gradient_penalty import GradientPenalty
from gan_gradflow.objectives.relativistic import RelativisticObjective
from gan_gradflow.types import Access


class PhaseSpy(L.Callback):
    """Snapshots both players before and after every optimizer's step."""

    def __init__(self) -> None:
        self.changed: list[tuple[str, set[str]]] = []

    def on_train_batch_start(self, trainer, module, *_) -> None:
        self._before = self._state(module)
        for name, optimizer in zip(
            ("generator", "discriminator"), module.optimizers(), strict=True
        ):
            optimizer.optimizer.register_step_post_hook(self._after(module, name))

    def _after(self, module, name):
        def hook(*_) -> None:
            now = self._state(module)
            differ = {k for k in now if not torch.equal(now[k], self._before[k])}
            self.changed.append((name, {k for k in differ if ".averaged." not in k}))
            self._before = now

        return hook

    @staticmethod
    def _state(module) -> dict:
        return {k: v.clone() for k, v in module.state_dict().items()}


@pytest.mark.parametrize("bridge", BRIDGES)
def test_each_phase_changes_its_own_player_alone(bridge, tmp_path) -> None:
    spy = PhaseSpy()
    module = make_module(BRIDGES[bridge]())
    play(module, 1, tmp_path, callbacks=[spy])
    (first, by_discriminator), (second, by_generator) = spy.changed
    assert (first, second) == ("discriminator", "generator")
    assert by_discriminator
    assert all(k.startswith("discriminator.") for k in by_discriminator)
    assert any("_u" in k for k in by_discriminator)  # spectral norm's vector
    assert all(k.startswith("generator.") for k in by_generator)
    assert any("running_mean" in k for k in by_generator)


@pytest.mark.parametrize("bridge", BRIDGES)
def test_the_discriminator_ends_a_generator_phase_as_it_was(bridge, tmp_path) -> None:
    module = make_module(BRIDGES[bridge]())
    states = []

    class After(L.Callback):
        def on_train_batch_end(self, trainer, module, *_) -> None:
            states.append(
                {k: v.clone() for k, v in module.discriminator.state_dict().items()}
            )

    spy = PhaseSpy()
    play(module, 1, tmp_path, callbacks=[spy, After()])
    at_step = {k: v for k, v in spy._before.items() if k.startswith("discriminator.")}
    assert at_step
    for key, value in at_step.items():
        assert torch.equal(states[0][key.removeprefix("discriminator.")], value)


@pytest.mark.parametrize("n_critic", [1, 3])
def test_global_step_counts_iterations(n_critic, tmp_path) -> None:
    trainer = play(make_module(n_critic=n_critic), 5, tmp_path)
    assert trainer.global_step == 5


def test_the_discriminator_is_updated_n_critic_times(tmp_path) -> None:
    spy = PhaseSpy()
    play(make_module(n_critic=3), 1, tmp_path, callbacks=[spy])
    assert [name for name, _ in spy.changed] == ["discriminator"] * 3 + ["generator"]


@pytest.mark.parametrize("bridge", BRIDGES)
def test_the_discriminator_learns_from_reals_and_exposed_fakes_alone(
    bridge, tmp_path
) -> None:
    discriminator = TinyDiscriminator()
    module = make_module(BRIDGES[bridge](), discriminator=discriminator)
    exposed, reals = [], []
    original = module.bridge.exposed
    module.bridge.exposed = lambda e: exposed.append(original(e)) or exposed[-1]
    loss = module.discriminator.loss

    def recorded(batch, fakes, labels):
        start = len(discriminator.seen)
        result = loss(batch, fakes, labels)
        reals.append(batch)
        allowed = [reals[-1], exposed[-1]]
        assert len(discriminator.seen) > start
        for tensor in discriminator.seen[start:]:
            assert any(torch.equal(tensor, a) for a in allowed)
        return result

    module.discriminator.loss = recorded
    play(module, 2, tmp_path)
    assert len(reals) == 2


def test_latents_differ_by_rank_phase_and_iteration() -> None:
    drawn = [
        iteration_latents(1, t, shape=(2, 4, 3), rank=r, world_size=2)
        for t in (0, 1)
        for r in (0, 1)
    ]
    rows = torch.cat([d.flatten(0, 1) for d in drawn])
    assert len(rows.unique(dim=0)) == 2 * 2 * 2 * 4


def test_two_ranks_draw_the_latents_of_one() -> None:
    whole = iteration_latents(1, 5, shape=(2, 8, 3), rank=0, world_size=1)
    parts = [
        iteration_latents(1, 5, shape=(2, 4, 3), rank=r, world_size=2) for r in (0, 1)
    ]
    assert torch.equal(torch.cat(parts, dim=1), whole)


@pytest.mark.parametrize("bridge", BRIDGES)
def test_the_same_seed_gives_the_same_weights(bridge, tmp_path) -> None:
    runs = [make_module(BRIDGES[bridge](), seed=s) for s in (4, 4, 5)]
    for module in runs:
        play(module, 3, tmp_path)
    weights = [nn.utils.parameters_to_vector(m.generator.parameters()) for m in runs]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_queries_are_those_of_the_generator_phase(tmp_path) -> None:
    module = make_module(BRIDGES["finite_difference"]())
    play(module, 3, tmp_path)
    assert module.critic.queries == 3 * 6 * module.bridge.queries_per_sample(4)


def test_a_spent_budget_ends_the_run_after_a_whole_iteration(tmp_path) -> None:
    module = make_module(BRIDGES["finite_difference"](), budget=100)
    trainer = play(module, 5, tmp_path)
    assert (trainer.global_step, module.critic.queries) == (2, 96)


def test_the_critic_grants_no_more_than_the_bridge_needs() -> None:
    assert make_module(BRIDGES["exact"]()).critic.access is Access.GRADIENT
    assert make_module(BRIDGES["score_function"]()).critic.access is Access.SCORES


def test_a_bridge_that_needs_gradients_is_refused_a_score_only_critic() -> None:
    with pytest.raises(ValueError, match=r"critic\.access.*scores"):
        make_module(access=Access.SCORES)


def test_a_bridge_that_judges_single_samples_is_refused_batch_norm() -> None:
    coupled = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))
    with pytest.raises(ValueError, match=r"couples.*group"):
        make_module(BRIDGES["finite_difference"](), discriminator=coupled)


def packing():
    return PackedDiscriminator(
        3, [4], lambda event_shape: MLPDiscriminator(event_shape, 8, 1, "none", False)
    )


def test_a_bridge_that_judges_single_samples_is_refused_packs() -> None:
    with pytest.raises(ValueError, match="in packs that share a loss"):
        make_module(BRIDGES["score_function"](), discriminator=packing())


def test_a_bridge_over_the_whole_batch_trains_against_packs(tmp_path) -> None:
    module = make_module(discriminator=packing(), objective=RelativisticObjective())
    play(module, 2, tmp_path)
    assert module.critic.queries == 2 * 6


def test_gradients_are_clipped_to_the_norm(tmp_path) -> None:
    norms = []

    class Norms(L.Callback):
        def on_before_optimizer_step(self, trainer, module, optimizer) -> None:
            grads = [p.grad for g in optimizer.param_groups for p in g["params"]]
            norms.append(float(nn.utils.get_total_norm(grads)))

    play(make_module(clip_norm=1e-3), 2, tmp_path, callbacks=[Norms()])
    assert norms == pytest.approx([1e-3] * 4, rel=1e-3)


def test_a_relativistic_loss_pairs_fakes_with_reals(tmp_path) -> None:
    module = make_module(
        BRIDGES["finite_difference"](), objective=RelativisticObjective()
    )
    play(module, 2, tmp_path)
    (real_scores,) = module.critic.context
    assert real_scores.shape == (6,)
    assert math.isfinite(module.scalars["loss/generator"])


class NaNAfter(nn.Module):
    """A discriminator whose scores are NaN from call number `calls` on."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.layer, self.left = nn.Linear(4, 1), calls

    def forward(self, samples):
        self.left -= 1
        scores = self.layer(samples).squeeze(-1)
        return scores * (math.nan if self.left < 0 else 1)


@pytest.mark.parametrize(
    ("calls", "name"), [(3, "mean score of reals"), (5, "generator's loss")]
)
def test_a_loss_that_is_not_a_number_stops_the_run(calls, name, tmp_path) -> None:
    module = make_module(discriminator=NaNAfter(calls))
    with pytest.raises(NonFiniteError, match=rf"the {name} is nan in iteration 2"):
        play(module, 4, tmp_path)
    assert all(p.isfinite().all() for p in module.parameters())


def test_a_critic_that_returns_nan_scores_stops_the_run(tmp_path) -> None:
    module = make_module(BRIDGES["finite_difference"](), discriminator=NaNAfter(5))
    with pytest.raises(NonFiniteError, match="NaN"):
        play(module, 4, tmp_path)


def test_bfloat16_rounds_and_trains(tmp_path) -> None:
    module = make_module(generator=TinyGenerator())
    before = nn.utils.parameters_to_vector(module.generator.network.parameters())
    play(module, 2, tmp_path, precision="bf16-mixed")
    after = nn.utils.parameters_to_vector(module.generator.network.parameters())
    assert after.isfinite().all()
    assert not torch.equal(before, after)


@pytest.mark.parametrize("bridge", [ExactBridge, ExactOneStageBridge])
def test_a_penalty_gets_reals_and_fakes_of_one_precision(bridge, tmp_path) -> None:
    module = make_module(bridge())
    penalty, seen = GradientPenalty(10.0), set()

    def recorded(discriminator, reals, fakes, *scores):
        seen.update((reals.dtype, fakes.dtype))
        return penalty(discriminator, reals, fakes, *scores)

    recorded.on_reals = recorded.on_fakes = False
    module.discriminator.penalty = recorded
    play(module, 2, tmp_path, precision="bf16-mixed")
    assert seen == {torch.float32}
    assert all(p.isfinite().all() for p in module.parameters())


def test_the_pull_that_is_logged_is_that_of_one_sample(tmp_path) -> None:
    seen = []
    linear = nn.Sequential(nn.Linear(4, 1), nn.Tanh(), nn.Flatten(0))
    module = make_module(discriminator=linear)
    estimate = module.bridge.estimate

    def recorded(critic, emission):
        apart = emission.detach().requires_grad_()
        (pull,) = torch.autograd.grad(critic(apart).sum(), apart)
        seen.append(pull.norm(dim=1).mean())
        return estimate(critic, emission)

    module.bridge.estimate = recorded
    play(module, 1, tmp_path)
    assert module.scalars["pull/norm"] == pytest.approx(float(seen[-1]), rel=1e-5)


@pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")
def test_figures_are_logged_at_their_interval_and_can_be_monitored(tmp_path) -> None:
    logger = CSVLogger(tmp_path)
    monitor = ModelCheckpoint(
        tmp_path / "best", None, "loss/generator", mode="min", every_n_train_steps=2
    )
    module = make_module()
    settings = {"log_every_n_steps": 2, "callbacks": [monitor], "checkpoints": True}
    trainer = play(module, 5, tmp_path, logger=logger, **settings)
    lines = Path(logger.experiment.metrics_file_path).read_text().splitlines()
    rows = list(csv.DictReader(lines))
    assert [row["step"] for row in rows] == ["2", "4"]
    names = {"loss/generator", "pull/norm", "critic/queries", "learning_rate/generator"}
    assert names < set(rows[0])
    least = min(float(row["loss/generator"]) for row in rows)
    assert float(monitor.best_model_score) == pytest.approx(least)
    assert trainer.callback_metrics["critic/queries"] == 24


def test_parameters_of_an_equation_learn_with_the_generator(tmp_path) -> None:
    equation = EquilibriumEquation(dim=4, radius=0.5)
    bridge = ImplicitBridge(
        equation, GMRESAdjoint(1e-5, 50, on_failure="raise", restart=10), None
    )
    before = nn.utils.parameters_to_vector(equation.parameters()).clone()
    module = make_module(bridge)
    play(module, 2, tmp_path)
    after = nn.utils.parameters_to_vector(equation.parameters())
    assert not torch.equal(before, after)


def test_samples_are_what_the_bridge_makes_of_the_emission() -> None:
    projection = ProjectionEquation(MassConservation(mean=0.25), max_steps=20)
    bridge = ImplicitBridge(
        projection, GMRESAdjoint(1e-5, 50, on_failure="raise", restart=10), None
    )
    fakes = make_module(bridge).generator.sample(torch.randn(5, 3), averaged=False)
    assert fakes.mean(1).tolist() == pytest.approx([0.25] * 5, abs=1e-5)
