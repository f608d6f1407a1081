"""Curves of fidelity agree with theory where the bridge is right, and tell where not."""

import pytest
import torch
from own_gan import batch, make_bridge, make_module
from torch.distributions import Bernoulli, Independent

from gan_gradflow.audit.fidelity import check_fidelity, fidelity_tables, measure_curves
from gan_gradflow.bridges.exact import ExactBridge
from gan_gradflow.types import Access

DIRECTIONS = "bridge.directions.num_directions"


def curves(bridges, module=None, access=None, total=200):
    module = module or make_module("objective=nonsaturating")
    return measure_curves(module, batch(), bridges, total, access)


class Scaled(ExactBridge):
    """The gradient times a factor."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def estimate(self, critic, emission):
        losses, proxy = super().estimate(critic, emission)
        return losses, self.factor * proxy


def codes(bridge) -> list[str]:
    return [f.code for f in check_fidelity(curves({"it": [bridge]}), "it")]


def test_a_bridge_that_is_right_has_no_finding():
    assert codes(ExactBridge()) == []
    assert codes(make_bridge("finite_difference")) == []


def test_a_lost_sign_is_found():
    assert codes(Scaled(-1.0)) == ["pull-points-away"]


@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_a_missing_factor_is_found(factor):
    assert codes(Scaled(factor)) == ["pull-off-by-a-factor"]


def test_a_bias_is_found():
    assert codes(Scaled(1.5)) == ["pull-biased"]


def test_the_variance_falls_with_the_queries_as_theory_says():
    # 20 samples and 200 draws or more: relative standard errors of a few per cent.
    several = [make_bridge("finite_difference", f"{DIRECTIONS}={k}") for k in (1, 4)]
    (curve,) = curves({"finite_difference": several}, total=300)
    for point, expected in zip(curve.points, (3 / 1, 3 / 4), strict=True):
        assert point.variance == expected
        assert point.measured.pull.variance.value == pytest.approx(expected, rel=0.25)
        noise = point.measured.parameters.variance.value
        assert noise == pytest.approx(point.parameter_variance, rel=0.5)


def test_a_bridge_that_cannot_be_is_listed_with_the_reason():
    found = curves({"exact": [ExactBridge()], "odd": "it is odd"}, access=Access.SCORES)
    assert "needs the critic's gradient" in found[0].reason
    left_out = fidelity_tables(found, [])[-1]
    assert left_out.title == "Bridges that were not measured"
    assert left_out.rows[1] == ("odd", "it is odd", "")


def test_a_critic_of_scores_is_compared_with_differences():
    (curve,) = curves({"it": [make_bridge("spsa")]}, access=Access.SCORES)
    assert curve.points[0].measured.reference.startswith("central differences")


def test_a_bridge_that_fails_is_a_finding():
    class Failing(ExactBridge):
        def estimate(self, critic, emission):
            raise RuntimeError("out of order")

    assert codes(Failing()) == ["bridge-failed"]


def test_an_equation_is_judged_by_differences_through_its_solver():
    bridge = make_bridge("implicit", "bridge/equation=energy_conservation")
    (curve,) = curves({"implicit": [bridge]})
    pull = curve.points[0].measured.pull
    assert pull.scale.value == pytest.approx(1, abs=0.05)
    assert pull.squared_bias.value < 0.01


def test_discrete_emissions_are_compared_with_many_draws():
    module = make_module("objective=nonsaturating", "bridge=score_function")
    network = module.generator.network
    network.emit = network.forward
    network.forward = lambda z: Independent(Bernoulli(logits=network.emit(z)), 1)
    found = curves(
        {
            "score_function": [make_bridge("score_function")],
            "spsa": [make_bridge("spsa")],
        },
        module,
        total=400,
    )
    assert found[0].points[0].measured.reference == "mean of many score-function draws"
    assert found[0].points[0].measured.pull.scale.value == pytest.approx(1, abs=0.3)
    assert "shifts samples" in found[1].reason


def test_measuring_leaves_the_module_as_it_was():
    module = make_module()
    before = {n: t.clone() for n, t in module.state_dict().items()}
    curves({"exact": [ExactBridge()]}, module)
    assert all(torch.equal(t, before[n]) for n, t in module.state_dict().items())
