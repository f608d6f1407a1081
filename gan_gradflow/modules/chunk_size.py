"""How many samples a critic should score at once: measured, not assumed.

On a CPU the activations of one huge batch do not fit into the cache, and a chunk that
does is up to four times as fast; on a GPU small chunks leave it idle. So the sizes are
timed on the critic itself, in turns, and each is judged by its best round.

The choice follows the clock, and the result must not: a size is only taken if its scores
equal those of the smallest one to the last bit. Libraries may sum in another order for
batches of another size; such sizes are left out.
"""

import time
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Shaped
from torch import Tensor

SIZES = (64, 128, 256, 512, 1024)
_ROUNDS = 3


@torch.no_grad()
def fastest_chunk_size(
    score: Callable[[Tensor], Tensor],
    samples: Shaped[Tensor, "n *event"],
    sizes: Sequence[int] = SIZES,
) -> int:
    """The size of chunk in which `score` takes the least time for a sample.

    Args:
        score: maps samples `[n, *event]` to scores `[n]`.
        samples: some that are typical; they are repeated as needed.
        sizes: what to try, in ascending order; the first is the reference.
    """
    repeats = -(-sizes[-1] // len(samples))
    asked = torch.cat([samples] * repeats)[: sizes[-1]]
    expected = _scored(score, asked, sizes[0])
    same = [n for n in sizes if torch.equal(_scored(score, asked, n), expected)]
    best = dict.fromkeys(same or sizes[:1], float("inf"))
    for _ in range(_ROUNDS):
        for size in best:
            start = time.perf_counter()
            # Bringing one number to the host waits for the device.
            _scored(score, asked, size).sum().item()
            best[size] = min(best[size], time.perf_counter() - start)
    return min(best, key=lambda size: best[size])


def _scored(score: Callable[[Tensor], Tensor], samples: Tensor, size: int) -> Tensor:
    return torch.cat([score(chunk) for chunk in samples.split(size)])
