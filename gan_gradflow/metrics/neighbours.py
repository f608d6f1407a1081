"""Nearest neighbours among features, in chunks that fit into memory."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

_DISTANCES_AT_ONCE = 10_000_000


def distances_by_rows(
    queries: Float[Tensor, "n d"], points: Float[Tensor, "m d"]
) -> Iterator[Float[Tensor, "rows m"]]:
    """The Euclidean distances of some queries after others to all points, in float64."""
    points = points.double()
    for chunk in queries.double().split(max(1, _DISTANCES_AT_ONCE // len(points))):
        yield torch.cdist(chunk, points)


def nearest(
    queries: Float[Tensor, "n d"], points: Float[Tensor, "m d"]
) -> tuple[Float[Tensor, " n"], Int[Tensor, " n"]]:
    """The distance from each query to its nearest point, and which point that is."""
    found = [rows.min(1) for rows in distances_by_rows(queries, points)]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def radii(points: Float[Tensor, "n d"], neighbours: int) -> Float[Tensor, " n"]:
    """The distance from each point to its k-th nearest other point."""
    return torch.cat(
        [
            rows.topk(neighbours + 1, largest=False).values[:, -1]
            for rows in distances_by_rows(points, points)
        ]
    )
