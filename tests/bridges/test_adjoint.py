"""The solvers of the adjoint system: the right solution, or an error that says why."""

import pytest
import torch

from gan_gradflow.bridges.adjoint.base import AdjointError
from gan_gradflow.bridges.adjoint.conjugate_gradient import ConjugateGradientAdjoint
from gan_gradflow.bridges.adjoint.dense import DenseAdjoint
from gan_gradflow.bridges.adjoint.gmres import GMRESAdjoint
from gan_gradflow.bridges.adjoint.linear_systems import LinearSystem
from gan_gradflow.bridges.adjoint.neumann import NeumannAdjoint
from gan_gradflow.bridges.adjoint.normal_equations import NormalEquationsAdjoint

FLOAT = torch.float64
GENERAL = {
    "dense": lambda **o: solver(DenseAdjoint, **o),
    "normal_equations": lambda **o: solver(NormalEquationsAdjoint, **o),
    "gmres": lambda **o: solver(GMRESAdjoint, restart=20, **o),
}
SOLVERS = GENERAL | {
    "conjugate_gradient": lambda **o: solver(ConjugateGradientAdjoint, **o),
    "neumann": lambda **o: solver(NeumannAdjoint, **o),
}
every_solver = pytest.mark.parametrize("make", SOLVERS.values(), ids=SOLVERS)
every_general_solver = pytest.mark.parametrize("make", GENERAL.values(), ids=GENERAL)


def solver(kind, tolerance=None, max_steps=200, on_failure="raise", **options):
    return kind(tolerance, max_steps, on_failure, **options)


def given(matrices, count=lambda: None):
    """The system of matrices `[batch, dim, dim]`; `count` is called at each product."""

    def times(matrices):
        def product(v):
            count()
            return (matrices @ v.unsqueeze(2)).squeeze(2)

        return product

    return LinearSystem(times(matrices), times(matrices.mT))


def definite(batch=3, dim=12, condition=5.0):
    """Symmetric matrices with eigenvalues from 1 / condition to 1."""
    turn, _ = torch.linalg.qr(torch.randn(batch, dim, dim, dtype=FLOAT))
    values = torch.logspace(0, -1, dim, dtype=FLOAT) ** torch.tensor(condition).log10()
    return turn * values @ turn.mT


def general(batch=3, dim=12):
    """Matrices without symmetry, well-conditioned, with eigenvalues of either sign."""
    signs = torch.tensor([1.0, -1.0], dtype=FLOAT).repeat(dim // 2)
    return (
        torch.diag(signs) + 0.3 * torch.randn(batch, dim, dim, dtype=FLOAT) / dim**0.5
    )


def right_side(matrices, dtype=FLOAT):
    return torch.randn(matrices.shape[:2], dtype=FLOAT).to(dtype)


# Solutions


@every_solver
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_solution_is_that_of_the_dense_system(make, dtype):
    matrices = definite().to(dtype)
    rhs = right_side(matrices, dtype)
    found = make().solve(given(matrices), rhs)
    expected = torch.linalg.solve(matrices, rhs)
    bound = 2e-4 if dtype == torch.float32 else 1e-8
    torch.testing.assert_close(found, expected, rtol=bound, atol=bound)


@every_general_solver
def test_systems_without_structure_are_solved(make):
    matrices = general()
    rhs = right_side(matrices)
    expected = torch.linalg.solve(matrices, rhs)
    found = make().solve(given(matrices), rhs)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


@every_solver
def test_a_sample_does_not_depend_on_its_batch(make):
    # The second sample takes many more steps than the first.
    matrices = torch.cat([definite(1, condition=1.5), definite(1, condition=9.0)])
    rhs = right_side(matrices)
    together = make().solve(given(matrices), rhs)
    alone = make().solve(given(matrices[:1]), rhs[:1])
    torch.testing.assert_close(together[:1], alone, rtol=1e-13, atol=1e-13)


@every_solver
def test_nothing_to_solve_takes_no_step(make):
    chosen, matrices = make(), definite()
    found = chosen.solve(given(matrices), torch.zeros(3, 12, dtype=FLOAT))
    assert chosen.report.steps == 0
    assert not found.any()


@every_solver
def test_the_report_tells_the_true_residual(make):
    chosen, matrices = make(tolerance=1e-3), definite()
    rhs = right_side(matrices)
    found = chosen.solve(given(matrices), rhs)
    left = (matrices @ found.unsqueeze(2)).squeeze(2) - rhs
    residual = float((left.norm(dim=1) / rhs.norm(dim=1)).max())
    assert chosen.report.residual == pytest.approx(residual, rel=1e-6, abs=1e-14)
    assert residual <= 1e-3


@pytest.mark.parametrize(
    ("name", "extra"),
    [("neumann", 1), ("gmres", 1), ("conjugate_gradient", 3)],
)
def test_a_step_is_one_product(name, extra):
    # And one to verify the solution; two to test the symmetry.
    chosen, matrices, products = SOLVERS[name](), definite(), []
    system = given(matrices, lambda: products.append(1))
    chosen.solve(system, right_side(matrices))
    assert len(products) == chosen.report.steps + extra


def test_gmres_takes_a_step_for_each_distinct_eigenvalue():
    turn, _ = torch.linalg.qr(torch.randn(2, 12, 12, dtype=FLOAT))
    values = torch.tensor([2.0, -1.0, 0.5], dtype=FLOAT).repeat(4)
    matrices, chosen = turn * values @ turn.mT, SOLVERS["gmres"]()
    chosen.solve(given(matrices), right_side(matrices))
    assert chosen.report.steps == 3


def test_gmres_needs_no_more_steps_than_unknowns():
    matrices, chosen = torch.randn(3, 12, 12, dtype=FLOAT), SOLVERS["gmres"]()
    chosen.solve(given(matrices), right_side(matrices))
    assert chosen.report.steps <= 12


def test_gmres_restarts_where_memory_is_short():
    matrices, chosen = definite(), solver(GMRESAdjoint, restart=3)
    rhs = right_side(matrices)
    found = chosen.solve(given(matrices), rhs)
    assert chosen.report.steps > 3
    torch.testing.assert_close(found, torch.linalg.solve(matrices, rhs))


def test_the_normal_equations_square_the_condition_number():
    # Of 400, conjugate gradients take about its root, 20, times a constant.
    matrices = definite(dim=200, condition=400.0)
    rhs, steps = right_side(matrices), {}
    for name in ("conjugate_gradient", "normal_equations"):
        chosen = SOLVERS[name](tolerance=1e-6, max_steps=5000)
        chosen.solve(given(matrices), rhs)
        steps[name] = chosen.report.steps
    assert steps["normal_equations"] > 4 * steps["conjugate_gradient"]


# A Jacobian


def coupled(y):
    return y.roll(1, 1) * y**2 + y.sin()


def test_products_with_a_jacobian_are_those_of_the_dense_one():
    y, v = torch.randn(2, 4, 5, dtype=FLOAT)
    dense = torch.func.vmap(torch.func.jacrev(lambda y: coupled(y[None])[0]))(y)
    system = LinearSystem.jacobian(coupled, y)
    torch.testing.assert_close(system.apply(v), (dense @ v[..., None])[..., 0])
    found = system.apply_transposed(v)
    torch.testing.assert_close(found, (dense.mT @ v[..., None])[..., 0])
    torch.testing.assert_close(system.dense(y), dense)
    torch.testing.assert_close(system.transpose.dense(y), dense.mT)


def tanh_fixed_point(dim=500, radius=0.305):
    """y - tanh(W y + x) at a y where I - dF/dy has this spectral radius; its products."""
    y = torch.randn(1, dim, dtype=FLOAT).tanh()
    weight = torch.randn(dim, dim, dtype=FLOAT)
    slope = (1 - y**2).mT * weight
    weight *= radius / torch.linalg.eigvals(slope).abs().max()
    x = y.atanh() - y @ weight.T
    system = LinearSystem.jacobian(lambda y: y - torch.tanh(y @ weight.T + x), y)
    return system.transpose, torch.eye(dim) - (1 - y**2) * weight.T


@pytest.mark.parametrize(
    ("name", "steps", "error"),
    [
        ("dense", 3, 1e-13),
        ("neumann", 20, 1e-10),
        ("gmres", 20, 1e-10),
        ("normal_equations", 60, 1e-10),
    ],
)
def test_a_fixed_point_of_500_unknowns(name, steps, error):
    system, dense = tanh_fixed_point()
    rhs = torch.randn(1, 500, dtype=FLOAT)
    found = SOLVERS[name](tolerance=error / 2, max_steps=steps).solve(system, rhs)
    expected = torch.linalg.solve(dense, rhs.mT).mT
    assert (found - expected).norm() <= error * expected.norm()


def test_conjugate_gradients_refuse_the_fixed_point():
    system, _ = tanh_fixed_point(dim=50)
    with pytest.raises(AdjointError, match=r"symmetric.*choose gmres"):
        SOLVERS["conjugate_gradient"]().solve(system, torch.randn(1, 50, dtype=FLOAT))


# Refusals


@pytest.mark.parametrize("skew", [1.0, 1e-6])
def test_conjugate_gradients_refuse_a_system_without_symmetry(skew):
    matrices = definite() + skew * general().triu(1)
    with pytest.raises(AdjointError, match=r"symmetric.*choose gmres"):
        SOLVERS["conjugate_gradient"]().solve(given(matrices), right_side(matrices))


@pytest.mark.parametrize("one", [-1.0, 0.0])
def test_conjugate_gradients_refuse_a_system_that_is_not_definite(one):
    matrices = torch.diag(torch.tensor([1.0, one], dtype=FLOAT)).expand(2, 2, 2)
    with pytest.raises(AdjointError, match=r"positive definite.*gmres"):
        SOLVERS["conjugate_gradient"]().solve(given(matrices), right_side(matrices))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_conjugate_gradients_accept_rounding(dtype):
    square = torch.randn(4, 300, 300, dtype=dtype)
    system = given(square @ square.mT / 300 + torch.eye(300, dtype=dtype))
    chosen = SOLVERS["conjugate_gradient"]()
    chosen.solve(system, torch.randn(4, 300, dtype=dtype))
    assert chosen.report.unconverged == 0


def test_conjugate_gradients_leave_the_seed_alone():
    matrices = definite()
    rhs, state = right_side(matrices), torch.get_rng_state()
    SOLVERS["conjugate_gradient"]().solve(given(matrices), rhs)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("factor", [-1.0, 2.5])
def test_a_neumann_series_that_diverges_is_an_error(factor):
    matrices = factor * torch.eye(4, dtype=FLOAT).expand(2, 4, 4)
    with pytest.raises(AdjointError, match=r"diverges.*choose gmres"):
        SOLVERS["neumann"]().solve(given(matrices), right_side(matrices))


def test_a_neumann_series_that_diverges_slowly_is_an_error():
    matrices = 2.001 * torch.eye(4, dtype=FLOAT).expand(2, 4, 4)
    with pytest.raises(AdjointError, match=r"diverges.*choose gmres"):
        SOLVERS["neumann"](max_steps=5).solve(given(matrices), right_side(matrices))


def test_a_neumann_series_may_grow_before_it_falls():
    matrix = torch.eye(3, dtype=FLOAT) - 9 * torch.diag(torch.ones(2), 1)
    chosen = SOLVERS["neumann"]()
    found = chosen.solve(given(matrix[None]), torch.ones(1, 3, dtype=FLOAT))
    torch.testing.assert_close(found, torch.tensor([[91.0, 10.0, 1.0]], dtype=FLOAT))


def test_a_singular_system_is_an_error_that_names_the_sample():
    matrices = torch.eye(3, dtype=FLOAT).repeat(4, 1, 1)
    matrices[2, 1, 1] = 0
    with pytest.raises(AdjointError, match=r"singular.*1 of 4.*sample 2"):
        SOLVERS["dense"]().solve(given(matrices), right_side(matrices))


@pytest.mark.parametrize("name", ["gmres", "normal_equations", "neumann"])
def test_a_singular_system_is_not_solved_silently(name):
    matrices = torch.diag(torch.tensor([1.0, 0.0, 0.5], dtype=FLOAT)).expand(2, 3, 3)
    with pytest.raises(AdjointError, match=r"diverges|2 of 2 samples are not solved"):
        SOLVERS[name](max_steps=50).solve(given(matrices), right_side(matrices))


# Failures


@every_solver
def test_too_few_steps_are_an_error(make):
    matrices = definite().float()
    with pytest.raises(
        AdjointError, match="3 of 3 samples are not solved after 1 step"
    ):
        make(tolerance=1e-12, max_steps=1).solve(
            given(matrices), right_side(matrices, torch.float32)
        )


def test_what_is_not_solved_is_counted_and_warned_of():
    chosen = SOLVERS["gmres"](max_steps=2, on_failure="warn")
    matrices = torch.cat([definite(2), torch.eye(12, dtype=FLOAT)[None]])
    for total in (2, 4):
        with pytest.warns(RuntimeWarning, match="2 of 3 samples are not solved"):
            chosen.solve(given(matrices), right_side(matrices))
        assert chosen.unconverged == total
    assert chosen.report.unconverged == 2


@every_solver
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_right_side_that_is_not_finite_is_an_error(make, bad):
    matrices = definite()
    rhs = right_side(matrices)
    rhs[1, 3] = bad
    with pytest.raises(AdjointError, match=r"1 of 3 samples .* not finite"):
        make().solve(given(matrices), rhs)


@every_solver
def test_what_is_not_finite_stays_in_its_sample(make):
    matrices = definite()
    rhs = right_side(matrices)
    rhs[1, 3] = float("inf")
    with pytest.warns(RuntimeWarning, match="not finite"):
        found = make(on_failure="warn").solve(given(matrices), rhs)
    assert found[1].isnan().all()
    expected = torch.linalg.solve(matrices[::2], rhs[::2])
    torch.testing.assert_close(found[::2], expected)


@every_solver
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": 0.0}, "tolerance must lie between 0 and 1, got 0.0"),
        ({"tolerance": 1.0}, "tolerance must lie between 0 and 1, got 1.0"),
        ({"max_steps": 0}, "max_steps must be at least 1, got 0"),
        ({"on_failure": "ignore"}, "on_failure must be one of .* got 'ignore'"),
    ],
)
def test_arguments_out_of_range_are_errors(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_gmres_restarts_after_a_step_at_least():
    with pytest.raises(ValueError, match="restart must be at least 1, got 0"):
        solver(GMRESAdjoint, restart=0)
