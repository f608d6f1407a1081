"""Command lines, YAML files and checkpoints that are wrong by construction, by seed."""

import io
import os
import pickle
import random
import string
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch

GROUPS = ("bridge", "data", "generator", "discriminator", "objective", "penalty")
NODES = (*GROUPS, "critic", "clip_norm", "trainer", "metrics", "callbacks.quality")
TYPED = {
    "seed": ("abc", "1.5", "null", "[1]", "true", "{a: 1}"),
    "max_iterations": ("ten", "0.5", "null", "[]", "false"),
    "n_critic": ("one", "1.5", "null", "{}", "true"),
    "average_decay": ("half", "null", "[0.5]", "true"),
    "data.batch_size": ("many", "2.5", "null", "[20]"),
    "generator.width": ("wide", "1.5", "null", "[16]"),
    "critic.budget": ("lots", "1.5", "[1]", "{}"),
    "on_nonfinite": ("explode", "1", "null", "[]"),
    "critic.access": ("everything", "3", "[scores]"),
    "optimizer.generator.lr": ("fast", "[1]"),
    "callbacks.quality.every_n_iterations": ("often", "1.5", "null"),
}
OUT_OF_RANGE = {
    "max_iterations": (0, -1, -(10**9)),
    "n_critic": (0, -3),
    "average_decay": (1.0, -0.1, 7.5, "nan", "inf"),
    "data.batch_size": (0, -1, 10**6),
    "generator.width": (0, -16),
    "clip_norm.generator": (0, -1.0, "nan"),
    "critic.budget": (0, -1, 3),
    "critic.chunk_size": (0, -1),
    "optimizer.generator.lr": (-1.0, "nan", "-inf"),
    "penalty.gamma": (-1.0, "nan"),
    "callbacks.sample_grid.num_samples": (0, -1),
}
TARGETS = (
    "os.system",
    "subprocess.Popen",
    "builtins.eval",
    "math.pi",
    "nope.Nope",
    "gan_gradflow.nope.Nope",
    "gan_gradflow.bridges.exact.Nope",
    "torch.nn.Linear",
    "os",
    "",
)


def word(draw: random.Random, alphabet: str = string.ascii_letters) -> str:
    return "x" + "".join(draw.choices(alphabet, k=draw.randint(3, 12))) + "x"


def grammar(draw: random.Random) -> str:
    s = word(draw)
    forms = (
        "seed=[{}",
        "seed={{{}",
        "seed='{}",
        "={}",
        "a b={}",
        "seed=${{{}",
        "seed=]{}",
    )
    return draw.choice(forms).format(s)


def unknown_key(draw: random.Random) -> str:
    node = draw.choice(("", *(f"{node}." for node in NODES)))
    return f"{draw.choice(('', '+', '++'))}{node}{word(draw)}={draw.randint(0, 9)}"


def wrong_type(draw: random.Random) -> str:
    key = draw.choice(list(TYPED))
    return f"{key}={draw.choice(TYPED[key])}"


def out_of_range(draw: random.Random) -> str:
    key = draw.choice(list(OUT_OF_RANGE))
    return f"{key}={draw.choice(OUT_OF_RANGE[key])}"


def unknown_option(draw: random.Random) -> str:
    return f"{draw.choice(GROUPS)}={word(draw)}"


def deleted(draw: random.Random) -> str:
    keys = [key for key in TYPED if not key.startswith("optimizer")]  # torch's default
    return f"~{draw.choice((*keys, *GROUPS, 'trainer', 'metrics'))}"


def interpolation(draw: random.Random) -> str:
    forms = ("${{{}}}", "${{oc.env:{}}}", "${{{}:1}}", "${{oc.decode:[{}}}")
    key = draw.choice(("seed", "run_name", "data.batch_size"))
    return f"{key}={draw.choice(forms).format(word(draw))}"


def target(draw: random.Random) -> str:
    return f"{draw.choice(GROUPS)}._target_={draw.choice(TARGETS)}"


LINES: dict[str, Callable[[random.Random], str]] = {
    f.__name__: f
    for f in (
        grammar,
        unknown_key,
        wrong_type,
        out_of_range,
        unknown_option,
        deleted,
        interpolation,
        target,
    )
}


def _as_yaml(line: str) -> str:
    """`a.b=c` as YAML."""
    key, _, value = line.lstrip("+~").partition("=")
    *above, last = key.split(".")
    text = "".join(f"{'  ' * depth}{name}:\n" for depth, name in enumerate(above))
    return f"{text}{'  ' * len(above)}{last}: {value}\n"


def syntax(draw: random.Random) -> str:
    s = word(draw)
    forms = (
        "seed: [{}\n",
        "seed: '{}\n",
        "a: b: {}\n",
        "- {}\nseed: 1\n",
        "seed: {{{}\n",
    )
    return draw.choice(forms).format(s)


def indentation(draw: random.Random) -> str:
    s = word(draw)
    forms = ("data:\n\t{}: 1\n", "seed: 1\n  {}: 2\n", "data:\n  a: 1\n {}: 2\n")
    return draw.choice(forms).format(s)


def other_root(draw: random.Random) -> str:
    s = word(draw)
    return draw.choice(("- {}\n- 2\n", "{}\n", '"{}"\n', "[{}]\n")).format(s)


def code(draw: random.Random) -> str:
    tags = ("object/apply:os.system", "object/new:os.system", "name:os.system")
    return f"seed: !!python/{draw.choice(tags)} ['touch planted{word(draw)}']\n"


def defaults(draw: random.Random) -> str:
    s = word(draw)
    forms = (
        "- override /bridge: {}",
        "- {}",
        "- override /{}: exact",
        "- [{}]",
        "- bridge@{}.y: nothing",
    )
    return f"defaults:\n  {draw.choice(forms).format(s)}\n"


FILES: dict[str, Callable[[random.Random], str]] = {
    "syntax": syntax,
    "indentation": indentation,
    "other_root": other_root,
    "code": code,
    "defaults": defaults,
    "unknown_key": lambda draw: _as_yaml(unknown_key(draw)),
    "wrong_type": lambda draw: _as_yaml(wrong_type(draw)),
    "out_of_range": lambda draw: _as_yaml(out_of_range(draw)),
    "not_text": lambda draw: "seed: \x00" + word(draw),
}


class Planted:
    """Runs a command when it is unpickled by somebody careless."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.system, (f"touch {self.folder}/planted",)


def truncated(draw: random.Random, whole: bytes, folder: Path) -> bytes:
    return whole[: draw.randrange(len(whole))]


def flipped(draw: random.Random, whole: bytes, folder: Path) -> bytes:
    damaged = bytearray(whole)
    damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def renamed(draw: random.Random, whole: bytes, folder: Path) -> bytes:
    contents = torch.load(io.BytesIO(whole), weights_only=True)
    node, key = draw.choice(list(_places(contents)))
    node[f"{key}x"] = node.pop(key)
    return _written(contents)


def pickled(draw: random.Random, whole: bytes, folder: Path) -> bytes:
    contents = torch.load(io.BytesIO(whole), weights_only=True)
    node, key = draw.choice(list(_places(contents)))
    node[key] = Planted(folder)
    form = draw.randrange(3)
    if form == 0:
        return _written(contents)
    if form == 1:
        return pickle.dumps(Planted(folder))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Planted(folder)))
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


CHECKPOINTS = {f.__name__: f for f in (truncated, flipped, renamed, pickled)}


def _places(node):
    """Every dictionary in a checkpoint with each of its keys."""
    children = node.values() if isinstance(node, dict) else node
    for key in node if isinstance(node, dict) else ():
        yield node, key
    for child in children:
        if isinstance(child, (dict, list)):
            yield from _places(child)


def _written(contents) -> bytes:
    buffer = io.BytesIO()
    torch.save(contents, buffer)
    return buffer.getvalue()
