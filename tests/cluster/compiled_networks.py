"""Trains every bridge with compiled networks and in bfloat16, beside the same as it is.

    compiled_networks.py BACKEND [BRIDGE ...]

prints a line for each bridge and option: `same`, `trains` (in bfloat16, which rounds
otherwise), `refused: why`, or what went wrong. The backend is one of `torch.compile`.
In a process of its own, for the checks of shapes in the tests would break the graph.
"""

import sys
import warnings
from functools import partialmethod

import torch
from every_bridge import BRIDGES, CASES, train
from torch import nn
from torch._dynamo.utils import counters

from gan_gradflow.cli.console import quiet_libraries
from gan_gradflow.cli.errors import ConfigError

TWO = ["max_iterations=2", "critic.chunk_size=null"]
OPTIONS = {
    "generator": ["compile.generator=true"],
    "discriminator": ["compile.discriminator=true", "penalty=none", "~penalty.gamma"],
    "penalised": ["compile.discriminator=true"],
    "bf16": ["trainer.precision=bf16-mixed"],
}


def outcome(bridge: str, option: str) -> str:
    case = [*CASES[bridge], *TWO]
    torch.compiler.reset()
    counters.clear()
    try:
        found = train([*case, *OPTIONS[option]])["parameters"]
    except ConfigError as refused:
        return f"refused: {refused}"
    if option == "bf16":
        return "trains" if found.isfinite().all() else "not finite"
    if not counters["frames"]["ok"]:
        return "not compiled"
    plain = [one for one in OPTIONS[option] if not one.startswith("compile")]
    difference = (found - train([*case, *plain])["parameters"]).abs().max()
    return "same" if difference < 1e-9 else f"off by {difference}"


if __name__ == "__main__":
    quiet_libraries()
    warnings.simplefilter("ignore")
    nn.Module.compile = partialmethod(nn.Module.compile, backend=sys.argv[1])
    for bridge in sys.argv[2:] or BRIDGES:
        for option in OPTIONS:
            print(bridge, option, outcome(bridge, option), sep="\t", flush=True)
