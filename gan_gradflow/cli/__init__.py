"""The command line: one file for each subcommand, imported when it is asked for.

Nothing here imports torch or Hydra at the top, so that `gan-gradflow --help` answers at
once.
"""

import importlib
import os
import sys
from difflib import get_close_matches
from pathlib import Path

COMMANDS = {
    "train": "train a GAN through a gradient bridge",
    "audit": "is the gradient right, and how good? of a configuration or a checkpoint",
    "sample": "draw samples from a checkpoint",
    "evaluate": "measure a checkpoint in every figure",
    "compare": "train the same GAN through several bridges, and report",
    "bridges": "which bridge when: what it needs, what crosses, what it costs",
}

_HELP = """\
gan-gradflow: GANs whose generator gets its gradient through a pluggable bridge

usage: gan-gradflow COMMAND [KEY=VALUE ...]

{commands}

gan-gradflow COMMAND --help      the configuration groups, their options, every key
gan-gradflow COMMAND --cfg job   the whole configuration, without running it
eval "$(gan-gradflow -sc install=bash)"   tab completion (bash; also zsh, fish)
"""

_here = Path(__file__).resolve().parents[1]
CONFIG_DIR = (
    _here / "configs" if (_here / "configs").is_dir() else _here.parent / "configs"
)


def main() -> None:
    """Run the subcommand that `sys.argv` names and leave with its exit code."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        width = max(map(len, COMMANDS))
        listed = "\n".join(f"  {n:{width}}  {what}" for n, what in COMMANDS.items())
        print(_HELP.format(commands=listed))
        sys.exit(0)
    if arguments[0] == "--version":
        from gan_gradflow import __version__

        print(f"gan-gradflow {__version__}")
        sys.exit(0)
    if arguments[0] in ("-sc", "--shell-completion", "--shell_completion"):
        sys.exit(_complete(arguments))
    if arguments[0] not in COMMANDS:
        near = get_close_matches(arguments[0], COMMANDS, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]}?" if near else ""
        print(
            f"gan-gradflow: no command {arguments[0]!r}{hint} "
            f"(there are {', '.join(COMMANDS)})",
            file=sys.stderr,
        )
        sys.exit(2)
    sys.exit(_run(arguments[0], arguments[1:]))


def _run(command: str, arguments: list[str]) -> int:
    from gan_gradflow.cli.errors import run_and_explain

    here = str(Path.cwd())
    if here not in sys.path:  # last: it hides nothing that is installed
        sys.path.append(here)
    if command == "train":
        from gan_gradflow.cli.launching import name_after_job

        arguments = name_after_job(arguments)
    app = importlib.import_module(f"gan_gradflow.cli.{command}").app
    return run_and_explain(command, app, arguments)


def _complete(arguments: list[str]) -> int:
    """Complete subcommands here and leave the rest of the line to the command's app."""
    if not arguments[1:] or not arguments[1].startswith("query="):
        return _run("train", arguments)
    program, *words = os.environ.get("COMP_LINE", "").split(" ")
    if len(words) < 2:
        print("\n".join(name for name in COMMANDS if name.startswith("".join(words))))
        return 0
    if words[0] not in COMMANDS:
        return 0
    os.environ["COMP_LINE"] = " ".join([program, *words[1:]])
    return _run(words[0], arguments)
