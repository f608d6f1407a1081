"""Two processes with half a batch each train as one process with the whole batch does."""

import every_bridge
import pytest
import torch
from launch import run


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path) -> None:
    """One test for all cases, because it is the start of processes that takes time."""
    path = tmp_path / "results"
    run(every_bridge.__file__, str(path), processes=2)
    first, second = (torch.load(f"{path}.{rank}") for rank in range(2))
    for case, alone in every_bridge.train_all().items():
        together = first[case]
        assert together["processes"] == 2
        assert together["agreed"], f"{case}: processes differ after an iteration"
        assert torch.equal(together["parameters"], second[case]["parameters"]), case
        assert together["queries"] == alone["queries"], case
        for name in ("parameters", "learned"):
            torch.testing.assert_close(
                together[name], alone[name], rtol=1e-6, atol=1e-9, msg=_naming(case)
            )


def _naming(case: str):
    return lambda message: f"{case}: {message}"
