"""Compiled networks and bfloat16 with every bridge: the same, or refused with a reason."""

import os
import subprocess
import sys
from pathlib import Path

import compiled_networks
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_bridge_trains_compiled_and_in_bfloat16_or_says_why_not() -> None:
    # The backend traces both passes and generates no code, which would take minutes.
    done = subprocess.run(
        [sys.executable, compiled_networks.__file__, "aot_eager"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(lines) == len(compiled_networks.BRIDGES) * 4
    for bridge, option, outcome in lines:
        expected = {"bf16": "trains", "penalised": "refused: compile.discriminator is"}
        assert outcome.startswith(expected.get(option, "same")), (
            bridge,
            option,
            outcome,
        )
