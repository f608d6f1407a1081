"""Finite differences whose step follows the noise and the curvature of the critic.

A difference of width h errs by the noise s of a score and by the curve between its ends,

    forward:  h |f''| / 2 + 2 s / h,      least at h = 2 sqrt(s / |f''|)
    central:  h^2 |f'''| / 6 + s / h,     least at h = (3 s / |f'''|)^(1/3).

Both are read off a line of scores f_j = f(x + j h u) of each sample, by one difference
that is blind to the slope, D(h) = f_1 - 2 f_0 + f_-1 for forward differences and
(f_2 - 2 f_1 + 2 f_-1 - f_-2) / 2 for central ones, at two widths:

    forward:  <D(h)^2> = C + 6 s^2    <D(h/2)^2> = C/16 + 6 s^2    C = (h^2 f'')^2
    central:  <D(h)^2> = C + 5/2 s^2  <D(h/2)^2> = C/64 + 5/2 s^2  C = (h^3 f''')^2

with <.> the mean over the batch. Noise is what does not shrink with the width, whatever
its source: rounding, a random critic, scores on a grid. The kinks of a rectified network
do shrink, to 1/8, so they count for the most part as curve, and the step falls to where
few of them are within it; by one width alone they could not be told from noise. (That
noise shows in high differences: More and Wild, SIAM J. Sci. Comput. 33, 2011.) A curve
that drowns in the noise, or scores that do not differ at all, call for a longer step.
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

_CENTRAL = (-2, -1, -0.5, 0.5, 1, 2)
_FORWARD = (-1, -0.5, 0, 0.5, 1)
_FACTOR = 2.0  # the most that one call lengthens or shortens the step


class AdaptiveDifferenceBridge(FiniteDifferenceBridge):
    """Needs nothing but scores, and finds the scale on which they can be differentiated.

    Costs four queries per sample more than `FiniteDifferenceBridge`, or three with
    forward differences, in training mode; in `eval()` the step stands still and costs
    nothing (`torch.func` cannot move it: call `eval()` before). Each call moves it at most
    by a factor of 2, for the next call; it is in the checkpoint. Choose it when the scores
    are noisy, on a grid or of unknown scale. Start from a short step: what repeats itself
    *within* half a step looks like noise, and noise calls for a longer one.

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
        queries="2 K + 4 central, K + 4 forward; K = d along coordinates",
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
        """Those of a finite difference, and in training mode those to measure with."""
        measuring = (4 if self.central else 3) if self.training else 0
        return super().queries_per_sample(dim) + measuring

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
        line: dict[int | float, Tensor] = {}
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
        line: dict[int | float, Float[Tensor, " batch"]],
    ) -> None:
        offsets = _CENTRAL if self.central else _FORWARD
        missing = [j for j in offsets if j not in line]
        answers = wide(critic(torch.stack([x + j * shift for j in missing]), 1))
        line |= dict(zip(missing, answers, strict=True))
        scores = self.processes.gather(torch.stack([line[j] for j in offsets]), dim=1)
        ratio = _best_ratio(scores, self.central)
        self._move_to(step * min(max(ratio, 1 / _FACTOR), _FACTOR))

    @torch.no_grad()
    def _move_to(self, wanted: float) -> None:
        bounded = min(max(wanted, self.smallest_step), self.largest_step)
        self.current_step.fill_(bounded)
        self.calls_at_bound += int(bounded != wanted)


def _best_ratio(line: Float[Tensor, "offset batch"], central: bool) -> float:
    """The best step over the line's own; infinite where no curve is seen for noise."""
    # Differences of differences: neighbours subtract without a new rounding error.
    if central:
        far_below, below, near_below, near, above, far = line
        ends = (far - above) + (below - far_below) - (above - below)
        half_ends = (above - near) + (near_below - below) - (near - near_below)
        full, half = _square(ends) / 4, _square(half_ends) / 4
        shrinkage, of_noise = 64, 2.5
    else:
        full = _square(line[::2].diff(n=2, dim=0))
        half = _square(line[1:4].diff(n=2, dim=0))
        shrinkage, of_noise = 16, 6.0
    curve = (full - half) / (1 - 1 / shrinkage)
    if curve <= 0:
        return float("inf")
    rounding = torch.finfo(line.dtype).eps ** 2 * _square(line) / 12
    noise = max((half - curve / shrinkage) / of_noise, rounding)
    return (9 * noise / curve) ** (1 / 6) if central else 2 * (noise / curve) ** (1 / 4)


def _square(values: Float[Tensor, "..."]) -> float:
    return float(values.double().square().mean())
