"""The processes that hold a batch together, each of them its own rows.

Of a batch of w b rows, rank r of w holds rows r b .. (r + 1) b - 1. What is drawn for a
batch is drawn for all of its rows, by every process from the same seed, and each keeps
its own: the draws for a row do not depend on how many processes there are.

Where the loss of a process depends on rows of others, the gradient on rows x_r is

    sum_s d loss_s / d x_r,

with loss_s the mean loss on rank s. Averaged over the processes, as
`DistributedDataParallel` averages them, the parameter gradients are then those of the
mean over the whole batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Distribution

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """All processes, seen from one of them. Every method is to be called on each.

    Attributes:
        rank: which of them this is.
        size: how many there are.
    """

    rank: int
    size: int

    @classmethod
    def of_default_group(cls) -> "Processes":
        """Those of `torch.distributed`; this one alone where it is not initialised."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return ALONE

    def whole(self, rows: Shaped[Tensor, "batch *event"]) -> Shaped[Tensor, "..."]:
        """A stand-in of the whole batch's shape, type and device, without its values."""
        if self.size == 1:
            return rows
        return rows[:1].expand(self.size * len(rows), *rows.shape[1:])

    def own(self, whole: Shaped[Tensor, "..."], dim: int = 0) -> Shaped[Tensor, "..."]:
        """The rows of this process, of what belongs to all rows along `dim`."""
        if self.size == 1:
            return whole
        share = whole.shape[dim] // self.size
        return whole.narrow(dim, self.rank * share, share)

    def drawn(
        self,
        distribution: Distribution,
        draw: Callable[[Distribution], Tensor],
        dim: int,
    ) -> Shaped[Tensor, "..."]:
        """What `draw` gives for this process's rows of a distribution `[batch]`.

        It is asked for draws of all rows, with this process's parameters in place of
        every other's, whose draws are dropped: draws that take a fixed number of random
        numbers for each row do not depend on the number of processes.

        Args:
            distribution: of batch shape `[batch]`.
            draw: draws from a distribution; the batch stands at `dim` of its answer.
            dim: where.
        """
        if self.size == 1:
            return draw(distribution)
        whole = distribution.expand((self.size, *distribution.batch_shape))
        return draw(whole).select(dim, self.rank)

    def gather(
        self, rows: Shaped[Tensor, "..."], dim: int = 0
    ) -> Shaped[Tensor, "..."]:
        """The rows of all processes along `dim`, in the order of rank; differentiable."""
        if self.size == 1:
            return rows
        gathered: Tensor = _Gather.apply(rows.movedim(dim, 0), self)  # type: ignore[no-untyped-call]
        return gathered.movedim(0, dim)

    @torch.no_grad()
    def mean(self, tensor: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The mean over the processes of equally shaped tensors, without a graph."""
        if self.size == 1:
            return tensor
        total = tensor.detach().clone().contiguous()
        dist.all_reduce(total)
        return total / self.size

    def mean_of_each(
        self, scalars: dict[str, Tensor], device: torch.device
    ) -> dict[str, Tensor]:
        """The means of named scalars over the processes, in one exchange over a device."""
        if self.size == 1:
            return scalars
        own = torch.stack([v.to(device, torch.float32) for v in scalars.values()])
        return dict(zip(scalars, self.mean(own), strict=True))

    def average_buffers(self, *modules: nn.Module) -> None:
        """Make running statistics the mean over the processes, each of which saw a part."""
        if self.size == 1:
            return
        buffers = [b for m in modules for b in m.buffers() if b.is_floating_point()]
        if not buffers:
            return
        means = self.mean(torch.cat([b.flatten() for b in buffers]))
        parts = means.split([b.numel() for b in buffers])
        for buffer, mean in zip(buffers, parts, strict=True):
            buffer.copy_(mean.view_as(buffer))

    def largest(self, number: int, device: torch.device) -> int:
        """The largest of one number from each process; the device that they talk over."""
        if self.size == 1:
            return number
        numbers = torch.tensor(number, device=device)
        dist.all_reduce(numbers, op=dist.ReduceOp.MAX)
        return int(numbers)

    def spread(self, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """A function of a batch that every process has, computed by all of them together.

        Each computes its part of the rows, and each gets all of the answers: for a costly
        critic in a loop whose generator is the same everywhere,
        `Critic(processes.spread(score), access=Access.SCORES)`. (Where processes share a
        batch, their questions are spread already.)
        """

        def together(samples: Tensor, *context: Tensor) -> Tensor:
            # The first rows once more, where they do not divide.
            padded = len(samples) + -len(samples) % self.size
            rows = torch.arange(padded, device=samples.device) % len(samples)
            own = self.own(rows)
            answers = function(samples[own], *(tensor[own] for tensor in context))
            return self.gather(answers)[: len(samples)]

        return together

    def from_first(self, value: T) -> T:
        """What the first process has: plain data that can be pickled."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]


ALONE = Processes(rank=0, size=1)


class _Gather(torch.autograd.Function):
    """Rows to all rows; backward, the sum over the processes of what arrives on them."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes
        rows = rows.contiguous()
        parts = [torch.empty_like(rows) for _ in range(processes.size)]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return _SumOfOwn.apply(gradients[0], ctx.processes), None  # type: ignore[no-untyped-call]


class _SumOfOwn(torch.autograd.Function):
    """The transpose of `_Gather`, and so its derivative; the other way round as well."""

    @staticmethod
    def forward(ctx: Any, whole: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes
        total = whole.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return processes.own(total).clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return _Gather.apply(gradients[0], ctx.processes), None  # type: ignore[no-untyped-call]
