"""Directions along which a bridge asks the critic, drawn anew for each sample.

Every family is scaled so that its directions u_1 .. u_K in R^d satisfy

    E[ weight * sum_k u_k u_k^T ] = identity,

so ghat = weight * sum_k <g, u_k> u_k has expectation g for every g, whatever the family.
Its relative variance E|ghat - g|^2 / |g|^2 is (d + 1) / K for Gaussian directions,
(d - 1) / K for Rademacher and sphere, d / K - 1 for orthonormal ones. The cosine with g
has E[cos^2] = 1 / (1 + relative variance): K / d exactly for orthonormal directions,
K / (K + d +- 1) in the limit of large d for the others.

A family may ask along u_k and answer along another v_k, with
E[ weight * sum_k v_k u_k^T ] = identity; ghat = weight * sum_k <g, u_k> v_k then.

Directions come in blocks of bounded memory. A block depends on the shape of the emission,
its device and the seed alone, never on how the critic cuts its questions into chunks.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.processes import ALONE, Processes

_BLOCK_ELEMENTS = 2**19  # on a CPU, whose cache holds them until the answers are back
_TIMES_ELSEWHERE = 2
# A random bit is enough for a sign: eight signs for each value of a byte.
_SIGNS_OF_BYTES = ((torch.arange(256).unsqueeze(1) >> torch.arange(8)) & 1) * 2.0 - 1


class Directions(ABC):
    """A family of directions: how many, how they are drawn, and their weight."""

    deterministic = False

    @abstractmethod
    def count(self, dim: int) -> int:
        """The number of directions K for samples of `dim` elements."""

    @abstractmethod
    def weight(self, dim: int) -> float:
        """The factor that makes the weighted second moment the identity."""

    def relative_variance(self, dim: int) -> float | None:  # noqa: ARG002
        """E|ghat - g|^2 / |g|^2 in `dim` dimensions; None where it is not known."""
        return None

    @abstractmethod
    def draw(
        self, start: int, stop: int, like: Float[Tensor, "batch *event"]
    ) -> Float[Tensor, "directions batch *event"]:
        """Directions number `start` to `stop` for each sample of `like`."""

    def take(self, num_directions: int) -> None:  # noqa: ARG002
        """Draw so many directions from now on, each independent of the others.

        Raises:
            ValueError: this family has no such number.
        """
        raise ValueError(
            f"{type(self).__name__} are not drawn independently of each other; choose "
            "gaussian, rademacher or sphere"
        )

    def blocks(
        self, like: Float[Tensor, "batch *event"], processes: Processes = ALONE
    ) -> Iterator[Float[Tensor, "directions batch *event"]]:
        """All directions, in blocks of bounded size.

        Args:
            like: the samples that the directions start from.
            processes: those that share the batch, of which `like` is one's rows.
        """
        whole = processes.whole(like)
        num_directions = self.count(like[0].numel())
        size = self.per_block(whole)
        for start in range(0, num_directions, size):
            stop = min(start + size, num_directions)
            yield processes.own(self.draw(start, stop, whole), dim=1)

    def pair(
        self,
        directions: Float[Tensor, "directions batch *event"],
        x: Float[Tensor, "batch *event"],  # noqa: ARG002
    ) -> tuple[Float[Tensor, "directions batch *event"], ...]:
        """For directions drawn at x: those to ask along, and those to answer along."""
        return directions, directions

    def per_block(self, like: Float[Tensor, "batch *event"]) -> int:
        """How many directions are drawn at once."""
        return directions_per_block(like)


def directions_per_block(like: Float[Tensor, "batch *event"]) -> int:
    """How many directions for every sample of `like` fit into one block."""
    times = 1 if like.device.type == "cpu" else _TIMES_ELSEWHERE
    return max(1, times * _BLOCK_ELEMENTS // max(1, like.numel()))


class CoordinateDirections(Directions):
    """The coordinate axes, all d of them: deterministic, and exact on linear critics."""

    deterministic = True

    def count(self, dim: int) -> int:
        """One for each element of a sample."""
        return dim

    def weight(self, dim: int) -> float:  # noqa: ARG002
        """One: the axes resolve the identity."""
        return 1.0

    def relative_variance(self, dim: int) -> float:  # noqa: ARG002
        """None of it: there is no chance."""
        return 0.0

    def draw(
        self, start: int, stop: int, like: Float[Tensor, "batch *event"]
    ) -> Float[Tensor, "directions batch *event"]:
        """Axes `start` to `stop`, the same for each sample."""
        event = like.shape[1:]
        axes = torch.zeros(
            stop - start, event.numel(), dtype=like.dtype, device=like.device
        )
        axes[range(stop - start), range(start, stop)] = 1
        return axes.view(-1, 1, *event).expand(-1, *like.shape)


class _RandomDirections(Directions):
    def __init__(self, num_directions: int) -> None:
        if num_directions < 1:
            raise ValueError(
                f"num_directions must be at least 1, got {num_directions}; 4 is a start"
            )
        self.num_directions = num_directions

    def take(self, num_directions: int) -> None:
        """Draw so many directions from now on."""
        self.num_directions = num_directions

    def count(self, dim: int) -> int:  # noqa: ARG002
        """`num_directions`, whatever the dimension."""
        return self.num_directions

    def weight(self, dim: int) -> float:  # noqa: ARG002
        """1 / K."""
        return 1 / self.num_directions

    def relative_variance(self, dim: int) -> float | None:
        """(d - 1) / K for directions of length sqrt(d)."""
        return (dim - 1) / self.num_directions


class GaussianDirections(_RandomDirections):
    """u ~ N(0, I): relative variance (d + 1) / K; smooths the critic by a Gaussian."""

    def relative_variance(self, dim: int) -> float | None:
        """(d + 1) / K: the length of a direction varies as well."""
        return (dim + 1) / self.num_directions

    def draw(
        self, start: int, stop: int, like: Float[Tensor, "batch *event"]
    ) -> Float[Tensor, "directions batch *event"]:
        """Standard normal directions."""
        return torch.randn(
            stop - start, *like.shape, dtype=like.dtype, device=like.device
        )


class RademacherDirections(_RandomDirections):
    """Each element +1 or -1: relative variance (d - 1) / K; the directions of SPSA."""

    def draw(
        self, start: int, stop: int, like: Float[Tensor, "batch *event"]
    ) -> Float[Tensor, "directions batch *event"]:
        """Directions of independent signs."""
        count = (stop - start) * like.numel()
        num_words = -(-count // 64)  # of 64 signs each; one word of 2^64 never comes
        words = torch.randint(-(2**63), 2**63 - 1, (num_words,), device=like.device)
        numbers = words.view(torch.uint8).int()
        table = _SIGNS_OF_BYTES.to(like)
        signs = table.index_select(0, numbers).flatten()[:count]
        return signs.view(stop - start, *like.shape)


class SphereDirections(_RandomDirections):
    """Uniform on the sphere of radius sqrt(d): relative variance (d - 1) / K."""

    def draw(
        self, start: int, stop: int, like: Float[Tensor, "batch *event"]
    ) -> Float[Tensor, "directions batch *event"]:
        """Directions of length sqrt(d)."""
        flat = torch.randn(
            stop - start,
            len(like),
            like[0].numel(),
            dtype=like.dtype,
            device=like.device,
        )
        radius = flat.shape[-1] ** 0.5
        flat *= radius / torch.linalg.vector_norm(flat, dim=-1, keepdim=True)
        return flat.view(-1, *like.shape)


class OrthonormalDirections(_RandomDirections):
    """K <= d orthogonal directions of length sqrt(d), uniform over all such frames.

    Relative variance d / K - 1, so K = d gives the exact gradient of a linear critic,
    where other random families would have relative variance 1; at K << d they gain
    nothing. A frame is drawn as a whole: memory grows with K.
    """

    def take(self, num_directions: int) -> None:
        """Refused: two frames of half the size are not as good as a whole one."""
        Directions.take(self, num_directions)

    def count(self, dim: int) -> int:
        """`num_directions`.

        Raises:
            ValueError: so many directions cannot be orthogonal in `dim` dimensions.
        """
        if self.num_directions > dim:
            raise ValueError(
                f"num_directions is {self.num_directions}, and only {dim} directions can "
                f"be orthogonal in {dim} dimensions; use at most {dim}"
            )
        return self.num_directions

    def per_block(self, like: Float[Tensor, "batch *event"]) -> int:  # noqa: ARG002
        """All: a frame for each sample."""
        return self.num_directions

    def relative_variance(self, dim: int) -> float:
        """d / K - 1: nothing is left at K = d."""
        return dim / self.num_directions - 1

    def draw(
        self, start: int, stop: int, like: Float[Tensor, "batch *event"]
    ) -> Float[Tensor, "directions batch *event"]:
        """Orthogonal directions from the QR decomposition of a Gaussian matrix."""
        dim = like[0].numel()
        wide = torch.promote_types(like.dtype, torch.float32)
        gaussian = torch.randn(
            len(like), dim, stop - start, dtype=wide, device=like.device
        )
        frame, triangle = torch.linalg.qr(gaussian)
        # Fixing the signs makes the frame uniform (Mezzadri, Notices AMS 54, 2007).
        frame = frame * triangle.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
        scaled = (frame * dim**0.5).permute(2, 0, 1).to(like.dtype)
        return scaled.reshape(-1, *like.shape)
