"""The front door: commands, completion, and how little it imports."""

import subprocess
import sys

import pytest
from short_run import ROOT


def test_help_lists_the_commands(cli) -> None:
    result = cli("--help")
    assert result.code == 0
    for name in ("train", "sample", "bridges"):
        assert f"\n  {name} " in result.out


def test_a_wrong_command_is_told_the_nearest(cli) -> None:
    result = cli("trian")
    assert result.code == 2
    assert "did you mean train?" in result.err


def test_a_commands_help_shows_groups_and_options(cli) -> None:
    result = cli("train", "--help")
    assert result.code == 0
    assert "\nbridge: " in result.out
    assert " finite_difference, " in result.out


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("gan-gradflow tr", "train"),
        ("gan-gradflow train bridge=sp", "bridge=spsa"),
        ("gan-gradflow train n_cri", "n_critic="),
        ("gan-gradflow nothing bridge=", ""),
    ],
)
def test_completion_offers_commands_and_overrides(
    cli, monkeypatch, line, offered
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    result = cli("-sc", "query=bash")
    assert result.code == 0
    assert result.out.split() == ([offered] if offered else [])


def test_completion_can_be_installed(cli) -> None:
    result = cli("-sc", "install=bash")
    assert result.code == 0
    assert "gan-gradflow" in result.out


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--cfg", "job"]])
def test_nothing_heavy_is_imported_to_answer_a_question(arguments) -> None:
    program = (
        "import sys; from gan_gradflow.cli import main\n"
        f"sys.argv = ['gan-gradflow', *{arguments}]\n"
        "try: main()\n"
        "except SystemExit as left: assert not left.code\n"
        "assert not {'torch', 'lightning'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_a_bridge_in_the_current_folder_trains_as_the_readme_says(train, tmp_path):
    readme = (ROOT / "README.md").read_text().split("## Your own bridge")[1]
    source = readme.split("```python\n")[1].split("```")[0]
    line = next(line for line in readme.splitlines() if "--config-dir" in line)
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "noisy.py").write_text(source)
    (tmp_path / "my_configs" / "bridge").mkdir(parents=True)
    (tmp_path / "my_configs" / "bridge" / "noisy.yaml").write_text(
        "_target_: my_package.noisy.NoisyBridge\nsigma: 1.0\n"
    )
    result = train(*line.split()[2:])
    assert result.code == 0, result.err
