"""The equations that come with the package: each solves itself, and is differentiated."""

import pytest
import torch
from conformance import CONFIGS, build
from problems import FLOAT, Linear, Separable, pull
from torch import nn

from gan_gradflow.bridges.adjoint.base import AdjointError
from gan_gradflow.bridges.adjoint.conjugate_gradient import ConjugateGradientAdjoint
from gan_gradflow.bridges.adjoint.dense import DenseAdjoint
from gan_gradflow.bridges.adjoint.gmres import GMRESAdjoint
from gan_gradflow.bridges.adjoint.neumann import NeumannAdjoint
from gan_gradflow.bridges.equations.base import SolutionError, relative_residual
from gan_gradflow.bridges.equations.constraints import (
    EnergyConservation,
    JointConstraint,
    MassConservation,
)
from gan_gradflow.bridges.equations.equilibrium import EquilibriumEquation
from gan_gradflow.bridges.equations.identity import IdentityEquation
from gan_gradflow.bridges.equations.projection import ProjectionEquation
from gan_gradflow.bridges.equations.sinkhorn import SinkhornEquation
from gan_gradflow.bridges.implicit import ImplicitBridge
from gan_gradflow.critic import Critic


def project(constraint, max_steps=30):
    return ProjectionEquation(constraint, max_steps)


def joint():
    return JointConstraint([MassConservation(0.2), EnergyConservation(0.7)])


EQUATIONS = {
    "identity": IdentityEquation,
    "mass": lambda: project(MassConservation(0.2)),
    "energy": lambda: project(EnergyConservation(0.7)),
    "joint": lambda: project(joint()),
    "equilibrium": lambda: EquilibriumEquation(12, 0.8),
    "sinkhorn": lambda: SinkhornEquation(2000),
}
every_equation = pytest.mark.parametrize("make", EQUATIONS.values(), ids=EQUATIONS)
OPTIONS = sorted(
    path.stem
    for path in (CONFIGS / "bridge" / "equation").glob("*.yaml")
    if "???" not in path.read_text()
)


def implicit(equation, adjoint=None):
    adjoint = adjoint or GMRESAdjoint(None, 100, "raise", 30)
    return ImplicitBridge(equation, adjoint, None)


def seen(equation, x):
    return implicit(equation).exposed(x)


def curved(y):
    return (y.flatten(1) ** 3).sum(1) + 3 * y.flatten(1).prod(1)


# Every equation


@every_equation
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_an_equation_solves_itself(make, dtype):
    equation, x = make().to(dtype), torch.randn(5, 3, 4, dtype=dtype)
    with torch.no_grad():
        y = equation.solve(x)
        residual = equation.residual(y, x)
    bound = 2e-10 if dtype == torch.float64 else 2e-5
    assert relative_residual(residual, y).max() <= bound


@every_equation
def test_the_pull_is_the_gradient_of_the_critic_at_the_solution(make):
    bridge, x = implicit(make().to(FLOAT)), torch.randn(2, 3, 4, dtype=FLOAT)
    assert torch.autograd.gradcheck(
        lambda x: bridge(Critic(curved), x), x.requires_grad_()
    )


@every_equation
def test_the_solution_of_a_sample_does_not_depend_on_its_batch(make):
    equation, x = make().to(FLOAT), torch.randn(5, 3, 4, dtype=FLOAT)
    torch.testing.assert_close(seen(equation, x)[:1], seen(equation, x[:1]))


@pytest.mark.parametrize("option", OPTIONS)
def test_every_yaml_serves_images(option):
    bridge = build(("+bridge=implicit", f"bridge/equation={option}"))
    images = torch.tanh(torch.randn(3, 1, 28, 28))
    losses, found = pull(bridge, Critic(Linear()), images)
    assert losses.isfinite().all()
    assert found.isfinite().all()
    assert bridge.report.unconverged == 0


def test_a_function_and_a_solver_can_be_named_in_yaml():
    bridge = build(
        (
            "+bridge=implicit",
            "bridge/equation=given",
            "bridge.equation.residual.path=torch.sub",
            "bridge.equation.solver.path=torch.clone",
        )
    )
    x = torch.randn(3, 4)
    torch.testing.assert_close(
        pull(bridge, Critic(Linear()), x)[1], Linear().gradient(x)
    )


# Projections


@pytest.mark.parametrize("event", [(), (7,), (2, 3, 4)])
def test_mass_conservation_shifts_a_sample_to_its_mean(event):
    x = torch.randn(4, *event, dtype=FLOAT)
    found = seen(project(MassConservation(0.3)), x).reshape(4, -1)
    flat = x.reshape(4, -1)
    expected = flat - flat.mean(1, keepdim=True) + 0.3
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_mass_conservation_takes_the_mean_out_of_the_pull():
    bridge, x = implicit(project(MassConservation(0.3))), torch.randn(4, 6, dtype=FLOAT)
    gradient = Separable().gradient(bridge.exposed(x))
    expected = gradient - gradient.mean(1, keepdim=True)
    torch.testing.assert_close(pull(bridge, Critic(Separable()), x)[1], expected)


def test_a_pixel_mean_survives_in_single_precision():
    images = torch.tanh(torch.randn(16, 1, 28, 28))
    found = seen(project(MassConservation(-0.74)), images).mean((1, 2, 3))
    torch.testing.assert_close(found, torch.full((16,), -0.74), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", [1e-2, 1.0, 1e2])
def test_energy_conservation_scales_a_sample(size):
    x = size * torch.randn(4, 6, dtype=FLOAT)
    expected = x * (0.7 / x.square().mean(1, keepdim=True)).sqrt()
    torch.testing.assert_close(seen(project(EnergyConservation(0.7)), x), expected)


def test_constraints_hold_together():
    found = seen(project(joint()), torch.randn(4, 2, 5, dtype=FLOAT)).flatten(1)
    torch.testing.assert_close(found.mean(1), torch.full((4,), 0.2, dtype=FLOAT))
    torch.testing.assert_close(
        found.square().mean(1), torch.full((4,), 0.7, dtype=FLOAT)
    )


def test_the_projection_is_the_nearest_point():
    # Onto the plane w'y = 1: a step along w.
    w, x = torch.arange(1.0, 5, dtype=FLOAT), torch.randn(3, 4, dtype=FLOAT)
    found = seen(project(lambda y: y @ w[:, None] - 1), x)
    excess = (x @ w - 1) / (w @ w)
    torch.testing.assert_close(found, x - excess[:, None] * w)


def test_a_constraint_with_parameters_teaches_them():
    class Plane(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.arange(1.0, 5, dtype=FLOAT))

        def forward(self, y):
            return (y @ self.w)[:, None] - 1

    plane, x = Plane(), torch.randn(3, 4, dtype=FLOAT)
    losses = implicit(project(plane))(Critic(curved), x)
    excess = (x @ plane.w - 1) / (plane.w @ plane.w)
    expected = curved(x - excess[:, None] * plane.w)
    found, truth = (torch.autograd.grad(v.sum(), plane.w) for v in (losses, expected))
    torch.testing.assert_close(found, truth)


def test_what_satisfies_the_constraint_stays_where_it_is():
    x = torch.randn(3, 6, dtype=FLOAT)
    x = x - x.mean(1, keepdim=True) + 0.3
    assert torch.equal(seen(project(MassConservation(0.3)), x), x)


def test_one_affine_constraint_takes_three_adjoint_steps_in_any_dimension():
    bridge = implicit(project(MassConservation(0.3)))
    for dim in (10, 1000):
        pull(bridge, Critic(Separable()), torch.randn(2, dim, dtype=FLOAT))
        assert bridge.report.steps <= 3


def test_conjugate_gradients_refuse_a_projection():
    bridge = implicit(
        project(MassConservation(0.3)), ConjugateGradientAdjoint(None, 100, "raise")
    )
    with pytest.raises(AdjointError, match="positive definite"):
        pull(bridge, Critic(Separable()), torch.randn(2, 6, dtype=FLOAT))


def test_a_constraint_that_cannot_hold_is_an_error():
    with pytest.raises(SolutionError, match=r"not solved 2 of 2 .* residual is"):
        seen(project(lambda y: y.square().sum(1, keepdim=True) + 1), torch.ones(2, 3))


def test_a_constraint_has_values_for_each_sample():
    with pytest.raises(ValueError, match=r"it must return \[2, k\]"):
        seen(project(lambda y: y.sum()), torch.ones(2, 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EnergyConservation(0.0), "mean_square must be positive, got 0.0"),
        (lambda: JointConstraint([]), "constraints is empty"),
        (lambda: project(joint(), max_steps=0), "max_steps must be at least 1, got 0"),
        (lambda: SinkhornEquation(0), "max_steps must be at least 1, got 0"),
        (lambda: EquilibriumEquation(0, 0.9), "dim must be at least 1, got 0"),
        (
            lambda: EquilibriumEquation(3, 1.0),
            "radius must lie between 0 and 1, got 1.0",
        ),
    ],
)
def test_arguments_out_of_range_are_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# The equilibrium layer


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_the_weight_of_an_equilibrium_has_a_bounded_norm(scale):
    equation = EquilibriumEquation(20, 0.8).double()
    equation.raw_weight.data *= scale
    norm = torch.linalg.matrix_norm(equation.weight, 2)
    assert norm <= 0.8 + 1e-12
    assert scale < 1 or norm >= 0.8 / 20 ** (1 / 8)


def test_an_equilibrium_learns_as_an_unrolled_layer_does():
    equation, x = EquilibriumEquation(6, 0.8).double(), torch.randn(3, 6, dtype=FLOAT)
    losses = implicit(equation)(Critic(curved), x)
    y = torch.zeros_like(x)
    for _ in range(150):
        y = torch.tanh(y @ equation.weight.T + x)
    found, expected = (
        torch.autograd.grad(v.sum(), equation.raw_weight) for v in (losses, curved(y))
    )
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


def test_the_neumann_series_suits_an_equilibrium():
    equation, x = EquilibriumEquation(12, 0.9).double(), torch.randn(3, 12, dtype=FLOAT)
    pulls = [
        pull(implicit(equation, adjoint), Critic(curved), x)[1]
        for adjoint in (
            NeumannAdjoint(None, 250, "raise"),
            DenseAdjoint(None, 3, "raise"),
        )
    ]
    torch.testing.assert_close(*pulls, rtol=1e-8, atol=1e-8)


# Sinkhorn scaling


@pytest.mark.parametrize("event", [(3, 5), (4, 4), (2, 5, 3), (1, 4)])
def test_a_plan_has_its_sums_of_rows_and_columns(event):
    plan = seen(SinkhornEquation(2000), torch.randn(3, *event, dtype=FLOAT))
    ones = torch.ones_like(plan)
    torch.testing.assert_close(plan.sum(-1), ones[..., 0])
    torch.testing.assert_close(plan.sum(-2), ones[..., 0, :] * event[-2] / event[-1])


def test_a_scaled_matrix_is_left_as_it_is():
    plan = torch.tensor(
        [[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.3, 0.2, 0.5]], dtype=FLOAT
    )
    found = seen(SinkhornEquation(2000), plan.log()[None])
    torch.testing.assert_close(found[0], plan)


def test_what_scaling_undoes_has_no_pull():
    # A row's or column's constant is scaled away: the pull sums to zero over both.
    bridge, x = implicit(SinkhornEquation(2000)), torch.randn(3, 4, 5, dtype=FLOAT)
    _, found = pull(bridge, Critic(curved), x)
    assert found.abs().max() > 1e-3
    assert found.sum(-1).abs().max() < 1e-9
    assert found.sum(-2).abs().max() < 1e-9


def test_conjugate_gradients_suit_sinkhorn_scaling():
    x = torch.randn(3, 4, 5, dtype=FLOAT)
    pulls = [
        pull(implicit(SinkhornEquation(2000), adjoint), Critic(curved), x)[1]
        for adjoint in (
            ConjugateGradientAdjoint(None, 50, "raise"),
            DenseAdjoint(None, 3, "raise"),
        )
    ]
    torch.testing.assert_close(*pulls, rtol=1e-8, atol=1e-8)


def test_scaling_that_does_not_settle_is_an_error():
    with pytest.raises(SolutionError, match="not converged after 3 scalings"):
        seen(SinkhornEquation(3), 5 * torch.randn(2, 6, 6, dtype=FLOAT))


def test_only_matrices_are_scaled():
    with pytest.raises(ValueError, match="scales matrices, and got samples"):
        seen(SinkhornEquation(100), torch.randn(2, 6))
