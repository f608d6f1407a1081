"""The gradient through an equation that was solved by somebody else."""

import numpy as np
import pytest
import scipy.optimize
import torch
from problems import FLOAT, Linear, pull
from torch import nn
from torch.distributions import Bernoulli, Independent, Normal

from gan_gradflow.bridges.adjoint.base import AdjointError
from gan_gradflow.bridges.adjoint.conjugate_gradient import ConjugateGradientAdjoint
from gan_gradflow.bridges.adjoint.dense import DenseAdjoint
from gan_gradflow.bridges.adjoint.gmres import GMRESAdjoint
from gan_gradflow.bridges.adjoint.normal_equations import NormalEquationsAdjoint
from gan_gradflow.bridges.equations.base import SolutionError
from gan_gradflow.bridges.equations.given import GivenEquation
from gan_gradflow.bridges.equations.identity import IdentityEquation
from gan_gradflow.bridges.implicit import ImplicitBridge
from gan_gradflow.critic import Critic
from gan_gradflow.types import Access


def bridge(residual, solver, adjoint=None, residual_tolerance=None):
    adjoint = adjoint or DenseAdjoint(None, 3, "raise")
    return ImplicitBridge(GivenEquation(residual, solver), adjoint, residual_tolerance)


def circle(y, x):
    return x**2 + y**2 - 5


def on_circle(x):
    return (5 - x**2).sqrt()


def square(y):
    return y.flatten(1).square().sum(1) if y.ndim > 1 else y.square()


def cubic(y, x):
    """Coupled in y: A y + y^3 = (x, sin x), twice as many unknowns as x has elements."""
    matrix = torch.eye(4, dtype=y.dtype) + 0.2 * torch.ones(4, 4, dtype=y.dtype).triu(1)
    return y @ matrix.T + y**3 - torch.cat([x, x.sin()], 1)


def solved_by_scipy(x):
    def root(row):
        row = torch.from_numpy(row)[None]

        def residual(y):
            return cubic(torch.from_numpy(y)[None], row)[0].numpy()

        return scipy.optimize.root(residual, np.zeros(4), tol=1e-12).x

    return np.stack([root(row) for row in x.double().numpy()])


def unrolled(x, steps=60):
    """The same solution by Newton's method that autograd can follow."""
    y = torch.zeros(len(x), 4, dtype=x.dtype)
    for _ in range(steps):
        jacobian = torch.func.vmap(
            torch.func.jacrev(lambda y, x: cubic(y[None], x[None])[0])
        )
        y = y - torch.linalg.solve(jacobian(y, x), cubic(y, x))
    return y


# The gradient


@pytest.mark.parametrize(
    "adjoint",
    [
        DenseAdjoint(None, 3, "raise"),
        ConjugateGradientAdjoint(None, 1, "raise"),
        NormalEquationsAdjoint(None, 1, "raise"),
        GMRESAdjoint(None, 1, "raise", 1),
    ],
    ids=lambda adjoint: type(adjoint).__name__,
)
def test_the_circle(adjoint):
    # x^2 + y^2 = 5 at (1, 2): dy/dx = -1/2, so y^2 has the derivative -2 in x, not 0.
    losses, found = pull(
        bridge(circle, on_circle, adjoint), Critic(square), torch.ones(1, dtype=FLOAT)
    )
    torch.testing.assert_close(losses, torch.tensor([4.0], dtype=FLOAT))
    torch.testing.assert_close(found, torch.tensor([-2.0], dtype=FLOAT))


def test_the_solver_may_be_numpys():
    chosen = bridge(circle, lambda x: np.sqrt(5 - x.numpy() ** 2))
    x = torch.tensor([[1.0], [0.5], [-2.0]], dtype=FLOAT)
    torch.testing.assert_close(pull(chosen, Critic(square), x)[1], -2 * x)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_solution_by_scipy_has_the_gradient_of_an_unrolled_one(dtype):
    x = torch.randn(3, 2, dtype=dtype)
    losses, found = pull(bridge(cubic, solved_by_scipy), Critic(square), x)
    leaf = x.double().requires_grad_()
    expected = square(unrolled(leaf))
    bound = 1e-5 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(
        losses.double(), expected.detach(), rtol=bound, atol=bound
    )
    (truth,) = torch.autograd.grad(expected.sum(), leaf)
    torch.testing.assert_close(found.double(), truth, rtol=bound, atol=bound)


def test_the_solver_is_never_differentiated():
    def solver(x):
        assert not torch.is_grad_enabled()
        assert not x.requires_grad
        return on_circle(x)

    pull(bridge(circle, solver), Critic(square), torch.ones(2, dtype=FLOAT))


def test_nothing_that_the_solver_writes_reaches_the_generator():
    buffer = torch.zeros(2, dtype=FLOAT)

    def solver(x):
        buffer.copy_(on_circle(x))
        x.zero_()
        return buffer

    x = torch.tensor([1.0, 2.0], dtype=FLOAT).requires_grad_()
    losses = bridge(circle, solver)(Critic(square), x)
    buffer.zero_()
    losses.sum().backward()
    torch.testing.assert_close(x.grad, -2 * x.detach())


def test_a_parameter_of_the_equation_gets_its_gradient():
    # theta y = x, so y^2 = (x / theta)^2 has the derivative -2 x^2 / theta^3 in theta.
    theta = nn.Parameter(torch.tensor(2.0, dtype=FLOAT))
    chosen = bridge(lambda y, x: theta * y - x, lambda x: x / theta)
    x = torch.tensor([3.0, 5.0], dtype=FLOAT)
    (found,) = torch.autograd.grad(chosen(Critic(square), x).sum(), theta)
    torch.testing.assert_close(found, -2 * (x**2).sum() / theta.detach() ** 3)


def test_a_module_in_the_equation_is_a_part_of_the_bridge():
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, y, x):
            return self.scale * y - x

    layer = Layer()
    chosen = bridge(layer, lambda x: x / layer.scale)
    assert list(chosen.parameters()) == [layer.scale]


def test_a_critic_may_couple_the_samples_of_a_batch():
    # Each loss looks at all samples, and each has a weight of its own.
    x = torch.tensor([1.0, 2.0, 0.5], dtype=FLOAT).requires_grad_()
    weights = torch.tensor([1.0, -2.0, 3.0], dtype=FLOAT)

    def coupled(y):
        return (y - y.mean()) ** 3 * y.max()

    losses = bridge(circle, on_circle)(Critic(coupled), x)
    (found,) = torch.autograd.grad((weights * losses).sum(), x)
    expected = (weights * coupled(on_circle(x))).sum()
    torch.testing.assert_close(found, torch.autograd.grad(expected, x)[0])


def test_a_distribution_is_drawn_and_differentiated_along_its_path():
    mean = torch.zeros(3, 2, dtype=FLOAT, requires_grad=True)
    chosen = ImplicitBridge(IdentityEquation(), DenseAdjoint(None, 3, "raise"), None)
    losses = chosen(Critic(Linear()), Independent(Normal(mean, 1.0), 1))
    (found,) = torch.autograd.grad(losses.sum(), mean)
    torch.testing.assert_close(found, Linear().gradient(mean))


def test_half_precision_is_solved_in_single():
    seen = []

    def residual(y, x):
        seen.extend([y.dtype, x.dtype])
        return circle(y, x)

    x = torch.ones(2, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        _, found = pull(bridge(residual, on_circle), Critic(square), x)
    assert set(seen) == {torch.float32}
    torch.testing.assert_close(found, -2 * x)


def test_autocast_does_not_reach_the_equation():
    weight = torch.randn(4, 4) / 4 + torch.eye(4)
    chosen = bridge(lambda y, x: y @ weight - x, lambda x: x @ weight.inverse())
    x = torch.randn(3, 4)
    _, expected = pull(chosen, Critic(Linear()), x)
    with torch.autocast("cpu", torch.bfloat16):
        _, found = pull(chosen, Critic(Linear()), x)
    torch.testing.assert_close(found, expected)


def test_a_generator_learns_through_it_in_a_plain_loop():
    # The critic wants y = 1; the generator has to find x = 2.
    x = nn.Parameter(torch.tensor([0.5]))
    optimizer = torch.optim.SGD([x], lr=0.1)
    chosen = bridge(circle, on_circle)
    for _ in range(200):
        optimizer.zero_grad()
        chosen(Critic(lambda y: (y - 1) ** 2), x).mean().backward()
        optimizer.step()
    assert x.item() == pytest.approx(2, abs=1e-3)


def test_a_second_derivative_is_refused():
    x = torch.ones(2, dtype=FLOAT, requires_grad=True)
    losses = bridge(circle, on_circle)(Critic(square), x)
    (first,) = torch.autograd.grad(losses.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="first derivative only"):
        torch.autograd.grad(first.sum(), x)


# The boundary


def test_the_critics_side_sees_the_solution_and_not_the_emission():
    seen, x = [], torch.tensor([1.0, 2.0], dtype=FLOAT).requires_grad_()

    def recorded(y):
        seen.append(y.detach())
        return square(y)

    chosen = bridge(circle, on_circle)
    chosen(Critic(recorded), x)
    seen.append(chosen.exposed(x))
    for samples in seen:
        torch.testing.assert_close(samples, torch.tensor([2.0, 1.0], dtype=FLOAT))


def test_what_is_exposed_has_no_graph_in_any_mode():
    theta = nn.Parameter(torch.tensor(2.0))
    chosen = bridge(lambda y, x: theta * y - x, lambda x: x / theta)
    x = torch.ones(2, requires_grad=True)
    assert not chosen.exposed(x).requires_grad
    with torch.inference_mode():
        expected = chosen.exposed(torch.ones(2))
        assert torch.equal(chosen(Critic(square), torch.ones(2)), square(expected))


def test_a_critic_without_a_gradient_is_refused():
    with pytest.raises(ValueError, match="needs a critic that grants its gradient"):
        bridge(circle, on_circle)(Critic(square, access=Access.SCORES), torch.ones(2))


def test_a_distribution_without_a_path_is_refused():
    discrete = Independent(Bernoulli(torch.full((3, 2), 0.5)), 1)
    chosen = bridge(circle, on_circle)
    with pytest.raises(ValueError, match="no reparameterised sample"):
        chosen(Critic(square), discrete)
    with pytest.raises(ValueError, match="no reparameterised sample"):
        chosen.exposed(discrete)


# Failures


def test_what_does_not_solve_the_equation_is_an_error_that_names_the_residual():
    chosen = bridge(circle, lambda x: on_circle(x) + torch.tensor([0.0, 0.1, 0.0]))
    with pytest.raises(
        SolutionError, match=r"1 of 3 samples: .* residual is 2\.\de-01"
    ):
        chosen(Critic(square), torch.ones(3))
    with pytest.raises(SolutionError, match="1 of 3 samples"):
        chosen.exposed(torch.ones(3))


def test_the_residual_tolerance_decides():
    def solver(x):
        return on_circle(x) + 1e-3

    bridge(circle, solver, residual_tolerance=1e-2).exposed(torch.ones(3))
    with pytest.raises(SolutionError, match=r"tolerance 1\.0e-03"):
        bridge(circle, solver, residual_tolerance=1e-3).exposed(torch.ones(3))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_solution_that_is_not_finite_is_an_error(bad):
    chosen = bridge(circle, lambda x: x * bad)
    with pytest.raises(SolutionError, match="3 of 3 samples"):
        chosen(Critic(square), torch.ones(3))


def test_an_emission_that_is_not_finite_is_an_error():
    x = torch.tensor([1.0, float("nan")])
    with pytest.raises(SolutionError, match="1 of 2 samples of the emission are NaN"):
        bridge(circle, on_circle)(Critic(square), x)


@pytest.mark.parametrize("solution", [torch.ones(()), torch.ones(2), np.ones((4, 1))])
def test_a_solution_has_a_row_for_each_sample(solution):
    with pytest.raises(ValueError, match=r"it must be \[3, \*unknown\]"):
        bridge(lambda y, x: y - 1, lambda x: solution)(Critic(square), torch.ones(3))


def test_there_are_as_many_equations_as_unknowns():
    chosen = bridge(lambda y, x: (y - x).sum(1), lambda x: x)
    with pytest.raises(ValueError, match="as many equations as unknowns"):
        chosen(Critic(square), torch.ones(3, 2))


def test_a_fold_of_the_solution_is_an_error():
    # At (sqrt 5, 0) the circle's tangent is vertical: y is no function of x there.
    chosen = bridge(circle, torch.zeros_like)
    x = torch.tensor([5.0], dtype=FLOAT).sqrt().requires_grad_()
    losses = chosen(Critic(lambda y: y + 1), x)
    with pytest.raises(AdjointError, match="singular"):
        losses.sum().backward()


def test_a_critic_whose_gradient_is_not_finite_is_an_error():
    x = torch.tensor([1.0, 2.0], dtype=FLOAT).requires_grad_()
    losses = bridge(circle, on_circle)(Critic(lambda y: (y - 1).sqrt()), x)
    with pytest.raises(AdjointError, match=r"1 of 2 samples .* not finite"):
        losses.sum().backward()


def test_the_report_counts_what_has_not_converged():
    chosen = bridge(cubic, solved_by_scipy, GMRESAdjoint(None, 1, "warn", 1))
    assert chosen.report is None
    with pytest.warns(RuntimeWarning, match="3 of 3 samples are not solved"):
        pull(chosen, Critic(square), torch.randn(3, 2, dtype=FLOAT))
    assert chosen.report.unconverged == chosen.adjoint.unconverged == 3
    assert chosen.report.steps == 1


def test_the_count_of_what_has_not_converged_is_in_the_checkpoint():
    first, resumed = (
        bridge(cubic, solved_by_scipy, GMRESAdjoint(None, 1, "warn", 1)) for _ in "12"
    )
    with pytest.warns(RuntimeWarning, match="3 of 3 samples are not solved"):
        pull(first, Critic(square), torch.randn(3, 2, dtype=FLOAT))
    resumed.load_state_dict(first.state_dict())
    assert resumed.figures() == {"unconverged": 3}


def test_a_checkpoint_from_before_the_count_was_kept_is_loaded():
    chosen = bridge(circle, on_circle)
    old = {k: v for k, v in chosen.state_dict().items() if "_extra_state" not in k}
    chosen.load_state_dict(old)
    assert chosen.figures() == {"unconverged": 0}


@pytest.mark.parametrize("tolerance", [0.0, -1.0, float("nan")])
def test_the_residual_tolerance_is_positive(tolerance):
    with pytest.raises(ValueError, match="residual_tolerance must be positive, got"):
        bridge(circle, on_circle, residual_tolerance=tolerance)
