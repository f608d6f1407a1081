"""Finite differences whose step follows the noise and the curvature of the critic.

A difference of width h errs by the noise s of a score and by the curve between its ends,

    forward:  h |f''| / 2 + 2 s / h,      least at h = 2 sqrt(s / |f''|)
    central:  h^2 |f'''| / 6 + s / h,     least at h = (3 s / |f'''|)^(1/3).

Both are read off a line of five scores f_j = f(x + j h u), j = -2 .. 2, of each sample:

    noise:      s^2          = <(f_-2 - 4 f_-1 + 6 f_0 - 4 f_1 + f_2)^2> / 70
    curvature:  (h^2 f'')^2  = <(f_-1 - 2 f_0 + f_1)^2> - 6 s^2
                (h^3 f''')^2 = <(f_2 - 2 f_1 + 2 f_-1 - f_-2)^2> / 4 - 5/2 s^2

with <.> the mean over the batch. At the best h the fourth difference of a smooth f is far
below the noise, so what is left of it is noise, whatever its source: rounding, a random
critic, scores on a grid (More and Wild, SIAM J. Sci. Comput. 33, 2011). A curve that
drowns in the noise, or scores that do not differ at all, call for a longer step.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from gan_gradflow.bridges.base import wide
from gan_gradflow.bridges.directions import Directions
from gan_gradflow.bridges.finite_difference import Answers, FiniteDifferenceBridge
from gan_gradflow.critic import Critic

_OFFSETS = (-2, -1, 0, 1, 2)
_FACTOR = 4.0  # the most that one call lengthens or shortens the step


class AdaptiveDifferenceBridge(FiniteDifferenceBridge):
    """Needs nothing but scores, and finds the scale on which they can be differentiated.

    Costs three queries per sample more than `FiniteDifferenceBridge`, in training mode;
    in `eval()` the step stands still and costs nothing (`torch.func` cannot move it: call
    `eval()` before). Each call moves it at most by a
    factor of 4, for the next call; it is in the checkpoint. Choose it when the scores
    are noisy, on a grid or of unknown scale. Start from a short step: what a critic does
    *within* the step looks like noise, and noise calls for a longer one.

    Args:
        directions: the family of directions and their number.
        central: central differences; otherwise forward ones.
        step: the first h, in the units of the emission; None chooses by dtype.
        smallest_step: the shortest h.
        largest_step: the longest h; on a linear critic it ends there.

    Raises:
        ValueError: not 0 < `smallest_step` <= `largest_step`, or `step` beyond them.
    """

    traits = replace(
        FiniteDifferenceBridge.traits,
        choose_when="only scores come back, and they are noisy, on a grid or of "
        "unknown scale",
        queries="2 K + 3 central, K + 4 forward; K = d along coordinates",
    )
    current_step: Tensor
    calls_at_bound: Tensor

    def __init__(
        self,
        directions: Directions,
        central: bool,
        step: float | None,
        smallest_step: float,
        largest_step: float,
    ) -> None:
        super().__init__(directions, central, step)
        if not 0 < smallest_step <= largest_step:
            raise ValueError(
                f"the step needs 0 < smallest_step <= largest_step, got {smallest_step} "
                f"and {largest_step}; try 1e-8 and 1"
            )
        if step is not None and not smallest_step <= step <= largest_step:
            raise ValueError(
                f"step is {step}, outside its bounds of {smallest_step} to "
                f"{largest_step}; move one of them"
            )
        self.smallest_step = smallest_step
        self.largest_step = largest_step
        self.register_buffer("current_step", torch.zeros(()))  # zero: before any call
        self.register_buffer("calls_at_bound", torch.zeros((), dtype=torch.int64))

    def queries_per_sample(self, dim: int) -> int:
        """Those of a finite difference, and three to measure with in training mode."""
        return super().queries_per_sample(dim) + (3 if self.training else 0)

    def step_for(self, x: Float[Tensor, "batch *event"]) -> float:
        """The step h now: the first one before any call, then what it has come to."""
        return float(self.current_step) or super().step_for(x)

    def figures(self) -> dict[str, float]:
        """The step, and the calls that wanted one beyond the bounds."""
        return {
            "step": float(self.current_step),
            "calls_at_step_bound": float(self.calls_at_bound),
        }

    def _scored(
        self, critic: Critic, x: Float[Tensor, "batch *event"], step: float
    ) -> Iterator[Answers]:
        """As ever; from one direction of each sample the next step is learnt."""
        if not self.training:
            yield from super()._scored(critic, x, step)
            return
        # Neighbours in the batch take different directions, for coordinates differ.
        row = torch.arange(len(x), device=x.device)
        count = self.directions.count(x[0].numel())
        number = (row + self.processes.rank * len(x)) % count
        shift, start = torch.zeros_like(x), 0
        line: dict[int, Tensor] = {}
        for u, v, scores in super()._scored(critic, x, step):
            mine = row[(start <= number) & (number < start + len(u))]
            shift[mine] = step * u[number[mine] - start, mine]
            for j, of_block in scores.items():
                seen = line.setdefault(j, torch.zeros_like(of_block[0]))
                seen[mine] = of_block[number[mine] - start, mine]
            start += len(u)
            yield u, v, scores
        self._learn(critic, x, shift, step, line)

    def _learn(
        self,
        critic: Critic,
        x: Float[Tensor, "batch *event"],
        shift: Float[Tensor, "batch *event"],
        step: float,
        line: dict[int, Float[Tensor, " batch"]],
    ) -> None:
        missing = [j for j in _OFFSETS if j not in line]
        answers = wide(critic(torch.stack([x + j * shift for j in missing]), 1))
        line |= dict(zip(missing, answers, strict=True))
        lines = self.processes.gather(torch.stack([line[j] for j in _OFFSETS]), dim=1)
        ratio = _best_ratio(lines, self.central)
        self._move_to(step * min(max(ratio, 1 / _FACTOR), _FACTOR))

    @torch.no_grad()
    def _move_to(self, wanted: float) -> None:
        bounded = min(max(wanted, self.smallest_step), self.largest_step)
        self.current_step.fill_(bounded)
        self.calls_at_bound += int(bounded != wanted)


def _best_ratio(line: Float[Tensor, "5 batch"], central: bool) -> float:
    """The best step over the line's own; infinite where no curve is seen for noise."""
    # Differences of differences: neighbours subtract without a new rounding error.
    rounding = torch.finfo(line.dtype).eps ** 2 * _square(line) / 12
    noise = max(_square(line.diff(n=4, dim=0)) / 70, rounding)
    if central:
        # The mean of the two third differences is the one that is centred at x.
        curve = _square(line.diff(n=3, dim=0).mean(0)) - 2.5 * noise
        return (9 * noise / curve) ** (1 / 6) if curve > 0 else float("inf")
    curve = _square(line[1:4].diff(n=2, dim=0)) - 6 * noise
    return 2 * (noise / curve) ** (1 / 4) if curve > 0 else float("inf")


def _square(values: Float[Tensor, "..."]) -> float:
    return float(values.double().square().mean())
