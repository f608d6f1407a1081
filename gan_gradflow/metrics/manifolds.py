"""Fidelity and diversity, told apart by balls around samples.

With B(x) the ball around x that reaches to its k-th nearest neighbour among its like, N
reals r_i and M fakes f_j,

    precision   1/M     #{j : f_j in some B(r_i)},
    recall      1/N     #{i : r_i in some B(f_j)},
    density     1/(k M) sum_j #{i : f_j in B(r_i)},
    coverage    1/N     #{i : some f_j in B(r_i)}.

Precision and recall: Kynkaanniemi et al., NeurIPS 2019; density and coverage: Naeem et
al., ICML 2020. For fakes that are distributed as the reals, density expects 1, and coverage

    1 - (N - 1) ... (N - k) / ((N + M - 1) ... (N + M - k)),   .969 for k = 5 and N = M.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.metrics.neighbours import distances_by_rows, radii


class Manifolds:
    """Precision, recall, density and coverage of fakes against reals given once.

    N^2 + M^2 + N M distances, about ten seconds for 10 000 of each on one core.

    Args:
        reals: the features of the reals.
        neighbours: k; the reals and the fakes must be more than that.

    Raises:
        ValueError: `neighbours` below 1, or no fewer than the reals.
    """

    def __init__(self, reals: Float[Tensor, "n d"], neighbours: int) -> None:
        self.neighbours = neighbours
        if neighbours < 1:
            raise ValueError(f"neighbours must be at least 1, got {neighbours}; try 5")
        self._require_more(len(reals), "reals", "hold out more")
        self._reals, self._radii = reals, radii(reals, neighbours)

    def __call__(self, fakes: Float[Tensor, "m d"]) -> dict[str, float]:
        """The four figures.

        Raises:
            ValueError: no more fakes than neighbours.
        """
        self._require_more(
            len(fakes), "fakes", f"raise num_samples above {self.neighbours}"
        )
        reach = radii(fakes, self.neighbours)
        first = 0
        recalled = torch.zeros(len(self._reals), dtype=torch.bool)
        covered = torch.zeros_like(recalled)
        balls = []  # for each fake, the balls of reals that it lies in
        for rows in distances_by_rows(fakes, self._reals):
            reaches = reach[first : first + len(rows), None]
            first += len(rows)
            inside = rows <= self._radii
            balls.append(inside.sum(1))
            covered |= inside.any(0)
            recalled |= (rows <= reaches).any(0)
        counts = torch.cat(balls).double()
        return {
            "precision": (counts > 0).double().mean().item(),
            "recall": recalled.double().mean().item(),
            "density": counts.mean().item() / self.neighbours,
            "coverage": covered.double().mean().item(),
        }

    def _require_more(self, count: int, which: str, way: str) -> None:
        if count > self.neighbours:
            return
        fewer = f", or use neighbours={count - 1}" if count > 1 else ""
        raise ValueError(
            f"neighbours is {self.neighbours}, and there are no more than {count} {which}; "
            f"{way}{fewer}"
        )
