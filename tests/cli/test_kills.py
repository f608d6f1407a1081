"""Real kills at random times, as `benchmarks/kill_soak.py` does more of."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "benchmarks" / "kill_soak.py"


@pytest.mark.slow
def test_a_run_that_is_killed_at_random_ends_bit_identical(tmp_path) -> None:
    options = (
        "--kills",
        "3",
        "--iterations",
        "400",
        "--bridges",
        "adaptive_difference",
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", SOAK, *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kills = re.search(r"^(\d+) kills", done.stdout, re.MULTILINE)
    assert kills
    assert int(kills[1]) >= 1
    assert "| bit-identical |" in done.stdout
