"""The README's commands compose, its code runs, and its table is the traits'."""

import re
import shlex
from pathlib import Path

import pytest

from gan_gradflow.cli import main
from gan_gradflow.cli.bridges import table

README = (Path(__file__).parents[1] / "README.md").read_text()
COMMANDS = [
    line.split("#")[0].strip().split("&& ")[-1]
    for block in re.findall(r"```bash\n(.*?)```", README, re.S)
    for line in block.splitlines()
    if re.search("gan-gradflow (train|compare)", line) and "-sc" not in line
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_training_command_composes(command, monkeypatch, capfd, tmp_path) -> None:
    arguments = [a for a in shlex.split(command)[1:] if a not in ("-m", "--help")]
    singles = [re.sub(r"(=[^,[]+),.*", r"\1", a) for a in arguments]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["gan-gradflow", *singles, "--cfg", "job"])
    with pytest.raises(SystemExit) as left:
        main()
    out, err = capfd.readouterr()
    assert left.value.code == 0, err
    assert "max_iterations" in out


def test_the_table_of_bridges_is_what_the_command_prints() -> None:
    printed = README.split("<!-- bridges -->\n")[1].split("<!-- /bridges -->")[0]
    assert printed.strip() == table()


def test_the_code_runs() -> None:
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.S)[1:]:
        exec(block, names)
    assert "NoisyBridge" in names
