"""Parameters of a simulator, found from scores of what it simulates."""

import json

import pytest


@pytest.mark.parametrize("experiment", ["avo_poisson", "avo_collider"])
def test_a_proposal_moves_towards_the_truth(cli, tmp_path, experiment) -> None:
    short = ("max_iterations=40", "n_critic=5", "run_name=short")
    result = cli("train", f"experiment={experiment}", *short)
    assert result.code == 0, result.err
    lines = (tmp_path / "outputs/short/quality.jsonl").read_text().splitlines()
    errors = [json.loads(line)["figures"]["rmse"] for line in lines]
    assert errors[-1] < errors[0]


def test_an_entropy_weight_needs_an_entropy(train) -> None:
    result = train("entropy_weight=1")
    assert result.code == 2
    assert "entropy_weight is 1" in result.err
    assert "has no entropy" in result.err


def test_where_a_proposal_starts_has_to_be_said(cli) -> None:
    result = cli("train", "generator=proposal")
    assert result.code == 2
    assert "generator.mean is missing" in result.err
