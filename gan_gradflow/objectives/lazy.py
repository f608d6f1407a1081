"""Lazy regularisation: a penalty in one update of n, n times as strong.

    n * penalty in the updates number 0, n, 2 n, ..;  0 in the others

Its mean over the updates is the penalty's, at an n-th of the cost.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gan_gradflow.objectives.penalties import Penalty


class LazyPenalty(nn.Module, Penalty):
    """Any penalty, seldom. The count of updates is in the checkpoint.

    Choose it where the penalty is a mild correction, such as R1 on images with n up to 16
    (Karras et al. (StyleGAN2), CVPR 2020), and time is short. It **fails** where the
    penalty is what keeps the game stable: the gradient then comes in jolts, between which
    the discriminator runs free. Adam makes it worse: its second moment remembers the
    jolt, so that the updates in between are shortened, and with a decay below
    1 - 1 / n it has forgotten it by the next. So: not with R1 and R2 on the relativistic
    objective, not on narrow modes, not with Wasserstein losses; watch
    `gradient_norm/discriminator`, and set n to 1 where it jumps by more than n.

    Args:
        penalty: what is added.
        every_n_updates: n, discriminator updates from one penalty to the next.

    Raises:
        ValueError: `every_n_updates` is below 1.
    """

    def __init__(self, penalty: Penalty, every_n_updates: int) -> None:
        super().__init__()
        if every_n_updates < 1:
            raise ValueError(
                f"every_n_updates must be at least 1, got {every_n_updates}; try 4"
            )
        self.penalty = penalty
        self.every_n_updates = every_n_updates
        self.updates = 0

    @property
    def due(self) -> bool:
        """Whether the next update is one with the penalty."""
        return self.updates % self.every_n_updates == 0

    @property
    def on_reals(self) -> bool:  # type: ignore[override]
        """Whether the next update differentiates the scores of reals."""
        return self.due and self.penalty.on_reals

    @property
    def on_fakes(self) -> bool:  # type: ignore[override]
        """Whether the next update differentiates the scores of fakes."""
        return self.due and self.penalty.on_fakes

    def __call__(
        self,
        discriminator: Callable[[Tensor], Tensor],
        reals: Float[Tensor, "n *event"],
        fakes: Float[Tensor, "n *event"],
        real_scores: Float[Tensor, " scores"],
        fake_scores: Float[Tensor, " scores"],
    ) -> Float[Tensor, ""]:
        """The penalty, n times as strong, or zero."""
        due = self.due
        self.updates += 1
        if not due:
            return real_scores.new_zeros(())
        self.penalty.processes = self.processes
        penalty = self.penalty(discriminator, reals, fakes, real_scores, fake_scores)
        return self.every_n_updates * penalty

    def get_extra_state(self) -> Tensor:
        """The count of updates."""
        return torch.tensor(self.updates)

    def set_extra_state(self, state: Tensor) -> None:
        """Go on counting."""
        self.updates = int(state)
