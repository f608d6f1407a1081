"""Compiles bridges in a process of its own, without the checks of shapes.

    python compiled.py one_graph VARIANT ...

prints the variants whose compiled pull, losses or count of queries differ. The checks that
the tests put around every function are Python that would break the graph.
"""

import sys

import torch
from conformance import BATCH, DIM, VARIANTS, build, emission, name
from problems import Separable, pull

from gan_gradflow.critic import Critic


def differs(variant, fullgraph):
    bridge = build(variant)
    eager = Critic(Separable(), access=bridge.traits.access)
    critic = Critic(Separable(), access=bridge.traits.access)
    torch.compiler.reset()
    compiled = torch.compile(bridge, backend="aot_eager", fullgraph=fullgraph)
    expected = pull(bridge, eager, emission())
    found = pull(compiled, critic, emission())
    same = all(torch.allclose(*pair) for pair in zip(found, expected, strict=True))
    return not same or critic.queries != bridge.queries_per_sample(DIM) * BATCH


if __name__ == "__main__":
    torch.set_num_threads(1)
    fullgraph, *chosen = sys.argv[1:]
    for variant in VARIANTS:
        if name(variant) in chosen and differs(variant, fullgraph == "one_graph"):
            print(name(variant))
