"""A mean and a covariance, and the surrogates drawn from them.

    x~ = mu + A e + s * e',    e and e' ~ N(0, I),    cov x~ = A A^T + diag(s^2)

A root A of a covariance S in d dimensions is found without differentiating an
eigenvector, whose derivative has poles where eigenvalues meet. With eigenpairs (V, D) of
S, W = V D^(-1/2) *held constant* and the Cholesky factor L L^T = W^T S W,

    A = S W L^(-T),    A A^T = S W (W^T S W)^(-1) W^T S,

which is S wherever the columns of W span the range of S, whatever they are: so its
derivatives are those of S. (With the noise e fixed, A e differs from a root that follows
the eigenvectors by a rotation of e, which changes no expectation.) Directions whose
variance is below rounding are left out of W: no jitter is added, nothing is divided by
zero, and `Moments.rank` counts what is left.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Moments(NamedTuple):
    """All that crosses: a mean and a covariance A A^T + diag(s^2).

    Attributes:
        mean: mu.
        factor: A; its columns are zero along directions without variance.
        scale: s, or None for zero.
    """

    mean: Float[Tensor, " dim"]
    factor: Float[Tensor, "dim columns"]
    scale: Float[Tensor, " dim"] | None

    @property
    def rank(self) -> int:
        """Directions in which the factor has variance."""
        return int(self.factor.detach().any(0).sum())


def draw_surrogates(
    moments: Moments, num_draws: int, matched: bool
) -> Float[Tensor, "draws dim"]:
    """Surrogates `[num_draws, dim]`, differentiable in the moments.

    Args:
        moments: their mean and covariance.
        num_draws: how many.
        matched: shape the noise so that the draws have these moments themselves; see
            `matched_noise`.
    """
    mean, factor, scale = moments
    dim, columns = factor.shape
    width = columns if scale is None else columns + dim
    noise = torch.randn(num_draws, width, dtype=mean.dtype, device=mean.device)
    if matched:
        noise = matched_noise(noise, columns)
    surrogates = mean + noise[:, :columns] @ factor.T
    if scale is not None:
        surrogates = surrogates + noise[:, columns:] * scale
    return surrogates


def matched_noise(
    noise: Float[Tensor, "draws columns"], num_leading: int
) -> Float[Tensor, "draws columns"]:
    """Noise reshaped to mean 0 and second moment 1 over its draws, as far as they reach.

    All columns become orthogonal where there are more draws than columns. Otherwise the
    `num_leading` first do, and the rest get variance 1 and, where half the draws or more
    are left for that, no covariance with the first. The draws stay exchangeable and
    rotation-invariant but are no longer independent, so expectations of order three and
    more are off by O(1 / draws). Two draws are left as they are: matched to the moments
    of two samples they would be these samples.

    Raises:
        ValueError: no more draws than leading columns.
    """
    num_draws, num_columns = noise.shape
    if num_draws <= num_leading:
        raise ValueError(
            f"{num_draws} draws cannot have a given covariance along {num_leading} "
            f"directions; draw at least {num_leading + 1}, or set matched to false"
        )
    if num_draws <= 2:
        return noise
    noise = noise - noise.mean(0)
    exact = num_columns if num_columns < num_draws else num_leading
    frame, triangle = torch.linalg.qr(noise[:, :exact])
    # Fixing the signs makes the frame uniform (Mezzadri, Notices AMS 54, 2007).
    frame = frame * triangle.diagonal().sign()
    rest = noise[:, exact:]
    if 2 * (exact + 1) <= num_draws:
        rest = rest - frame @ (frame.T @ rest)
    return torch.cat([frame * num_draws**0.5, rest / deviation(rest)], dim=1)


def root(covariance: Float[Tensor, "dim dim"]) -> Float[Tensor, "dim dim"]:
    """A with A A^T = covariance, a function of the covariance alone."""
    whitener, dead = whiten(*torch.linalg.eigh(covariance.detach()))
    image = covariance @ whitener
    triangle = torch.linalg.cholesky(whitener.T @ image + dead.diag())
    return torch.linalg.solve_triangular(triangle, image.T, upper=False).T


def whiten(
    values: Float[Tensor, " columns"], vectors: Float[Tensor, "rows columns"]
) -> tuple[Float[Tensor, "rows columns"], Float[Tensor, " columns"]]:
    """V D^(-1/2) of ascending eigenvalues D; zero, and marked by a 1, below rounding.

    The sign of a column is a choice, made here so that the vectors alone decide.
    """
    rows, columns = vectors.shape
    # Rounding in the eigenvalues: of the decomposition, and of sums over the rows.
    floor = values[-1] * 4 * (columns + rows**0.5) * torch.finfo(values.dtype).eps
    alive = (values > floor) & (values > 0)
    inverse = torch.where(alive, values, 1).rsqrt() * alive
    largest = vectors.abs().argmax(0, keepdim=True)
    signs = torch.where(vectors.gather(0, largest) < 0, -1, 1)
    return vectors * inverse * signs, (~alive).to(values.dtype)


def deviation(centred: Float[Tensor, "batch dim"]) -> Float[Tensor, " dim"]:
    """Root mean square of each column; unlike sqrt, its derivative at 0 is 0."""
    return torch.linalg.vector_norm(centred, dim=0) / len(centred) ** 0.5
