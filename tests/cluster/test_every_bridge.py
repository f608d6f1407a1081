"""Two processes with half a batch each train as one process with the whole batch does."""

import every_bridge
import pytest
import torch
from launch import run

from gan_gradflow.processes import ALONE


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path) -> None:
    """One test for all cases, because it is the start of processes that takes time."""
    path = tmp_path / "results"
    run(every_bridge.__file__, str(path), processes=2)
    first, second = (torch.load(f"{path}.{rank}") for rank in range(2))
    for case, alone in every_bridge.train_all().items():
        together = first["trained"][case]
        assert together["processes"] == 2
        assert together["agreed"], f"{case}: processes differ after an iteration"
        there = second["trained"][case]["parameters"]
        assert torch.equal(together["parameters"], there), case
        assert together["queries"] == alone["queries"], case
        for name in ("parameters", "learned"):
            _assert_close(together[name], alone[name], case)
    for case, alone in every_bridge.pulls(ALONE).items():
        _assert_close(first["pulls"][case], alone, case)
    scores, asked = first["asked"]
    assert torch.equal(scores, every_bridge.asked_together(ALONE)[0])
    assert (asked, second["asked"][1]) == (4, 4)  # of seven, one of them twice


def _assert_close(together, alone, case: str) -> None:
    torch.testing.assert_close(
        together, alone, rtol=1e-6, atol=1e-9, msg=lambda text: f"{case}: {text}"
    )
