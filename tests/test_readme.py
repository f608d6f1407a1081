"""The README's commands compose, its code runs, and its table is the traits'."""

import re
import shlex
import sys
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


def test_your_own_bridge_trains_as_the_page_says(monkeypatch, capfd, tmp_path) -> None:
    section = README.split("## Your own bridge\n")[1].split("\n## ")[0]
    code, yaml = re.findall(r"```(?:python|yaml)\n(.*?)```", section, re.S)
    command = re.search(r"^    gan-gradflow (.*)$", section, re.M)[1]
    for name, text in (
        ("my_package/noisy.py", code),
        ("my_configs/bridge/noisy.yaml", yaml),
    ):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    brief = "max_iterations=1 metrics=none callbacks.sample_grid=null"
    brief += " generator.width=4 discriminator.width=4"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GAN_GRADFLOW_DATA", str(Path(__file__).parents[1] / "data"))
    monkeypatch.setattr("sys.path", list(sys.path))  # the folder is added to it
    monkeypatch.setattr(
        "sys.argv", ["gan-gradflow", *shlex.split(f"{command} {brief}")]
    )
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0, capfd.readouterr().err


def test_the_code_runs() -> None:
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.S)[1:]:
        exec(block, names)
    assert "NoisyBridge" in names
