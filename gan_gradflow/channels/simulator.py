"""A black box: samples are a simulator's inputs, and what it makes of them arrives.

No gradient passes, and outputs may be random: the gradient of the expected loss is
estimated from scores of what was simulated (Louppe, Hermans and Cranmer, *Adversarial
variational optimization of non-differentiable simulators*, AISTATS 2019).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from gan_gradflow.channels.base import Channel, ChannelError, ChannelTraits
from gan_gradflow.workers.base import AnswerError, Worker, WorkerError


class SimulatorChannel(Channel):
    """Any function of a batch: a Python callable, or a program in any language.

    Args:
        workers: the function, in this process or in others.
        event_shape: the shape of an output.
        seeded: the simulator is random, and is given a seed with every batch, from which
            all that is random in the answer should follow.
        on_reals: false where reals are simulated already, or measured.
        on_samples: whether what is shown and judged are outputs, not inputs.
    """

    traits = ChannelTraits(differentiable=False, deterministic=True)
    stands = ("calls",)  # if an iteration is undone: they were made

    def __init__(
        self,
        workers: Worker,
        event_shape: Sequence[int],
        seeded: bool,
        on_reals: bool,
        on_samples: bool,
    ) -> None:
        super().__init__(on_reals, on_samples)
        self.traits = replace(self.traits, deterministic=not seeded)
        self.workers = workers
        self.event_shape = tuple(event_shape)
        self.seeded = seeded
        self.calls: Tensor
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def forward(
        self, samples: Shaped[Tensor, "n *event"]
    ) -> Shaped[Tensor, "n *received"]:
        """The simulator's outputs.

        Raises:
            ChannelError: it failed for good, or the outputs have another shape.
        """
        seed = int(torch.randint(2**31, ())) if self.seeded else None
        dtype = samples.dtype if samples.is_floating_point() else torch.float32
        narrow = dtype in (torch.bfloat16, torch.float16)  # NumPy has not both of them
        inputs = (samples.float() if narrow else samples).cpu().numpy()
        try:
            outputs = self.workers(inputs, seed)
        except (AnswerError, WorkerError) as error:
            raise ChannelError(f"the simulator failed: {error}") from error
        self.calls += len(samples)
        if outputs.shape[1:] != self.event_shape:
            raise ChannelError(
                f"the simulator's outputs have shape {list(outputs.shape[1:])}; set "
                f"channel.event_shape={list(outputs.shape[1:])}, or mend the simulator"
            )
        outputs = np.ascontiguousarray(outputs)
        return torch.as_tensor(outputs, device=samples.device).to(dtype)

    def received_shape(self, event_shape: Sequence[int]) -> tuple[int, ...]:  # noqa: ARG002
        """The shape of an output."""
        return self.event_shape

    def figures(self) -> dict[str, float]:
        """Samples that this process had simulated since the start."""
        return {"calls": float(self.calls)}
