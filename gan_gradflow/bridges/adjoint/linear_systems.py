"""Square linear systems that are known by their products, one for each sample.

The Jacobian J = dF/dy of a residual F is never formed: J^T u is a vector-Jacobian product,
one backward pass through F, and J v the transpose of the map u -> J^T u, one backward
pass through that. Samples are independent, so a product serves the whole batch.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

Product: TypeAlias = Callable[[Tensor], Tensor]

_BLOCK_ELEMENTS = 2**22


@dataclass(frozen=True)
class LinearSystem:
    """A matrix [dim, dim] for each sample, as maps of vectors `[batch, dim]`.

    Attributes:
        apply: the product with the matrix.
        apply_transposed: the product with its transpose.
    """

    apply: Product
    apply_transposed: Product

    @classmethod
    def jacobian(
        cls, residual: Product, at: Float[Tensor, "batch dim"]
    ) -> "LinearSystem":
        """J = d residual / d y at y = `at`, for a residual `[batch, dim] -> [batch, dim]`.

        Products carry a graph to whatever `residual` and `at` depend on, unless they are
        taken under `no_grad`.
        """
        pull_back = torch.func.vjp(residual, at)[1]

        def transposed(u: Tensor) -> Tensor:
            return pull_back(u)[0]

        @functools.cache
        def transposed_again() -> Product:
            # The product is linear: the point at which it is differentiated is free.
            return torch.func.vjp(transposed, torch.zeros_like(at))[1]

        def forward(v: Tensor) -> Tensor:
            return transposed_again()(v)[0]

        return cls(forward, transposed)

    @property
    def transpose(self) -> "LinearSystem":
        """The system with the transposed matrices."""
        return LinearSystem(self.apply_transposed, self.apply)

    def dense(self, like: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim dim"]:
        """The matrices themselves, from one product for each column."""
        batch, dim = like.shape
        axes = torch.eye(dim, dtype=like.dtype, device=like.device)
        columns = torch.vmap(
            lambda axis: self.apply(axis.expand(batch, dim)),
            out_dims=2,
            chunk_size=max(1, _BLOCK_ELEMENTS // max(1, like.numel())),
        )
        return columns(axes)
