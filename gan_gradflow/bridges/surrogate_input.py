"""Only statistics of a batch cross; the critic sees surrogates drawn from them.

Of samples x_1 .. x_n the mean mu and the covariance S cross to the critic's side, where

    x~_k = mu + A e_k,    A A^T = S,    e_k ~ N(0, I),

are scored. The gradients dL/dmu and dL/dS come back and flow through the statistics:

    dL/dx_i = 1/n [dL/dmu + (dL/dS + dL/dS^T) (x_i - mu)].

With dL/dmu = E grad f and dL/dS = E H / 2 for the Hessian H of a critic f (Bonnet, Price)
the pull on x_i, n times dL/dx_i for the mean loss, is  E grad f + E H (x_i - mu): the
best affine fit of grad f for Gaussian samples, and exact where f is quadratic.
`statistics.py` has the covariances that are less than full.
"""

import copy
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gan_gradflow.bridges.base import GradientBridge, Traits, pathwise, rows, wide
from gan_gradflow.bridges.moments import Moments, draw_surrogates
from gan_gradflow.bridges.statistics import Statistics
from gan_gradflow.critic import Critic, NonFiniteScoresError
from gan_gradflow.types import Access, Emission


class AffineFit(NamedTuple):
    """How far an affine function of the samples explains the critic's gradient.

    Attributes:
        r2: the variance of the gradient that it explains.
        cosine: its cosine with the gradient; no affine pull has a higher one.
    """

    r2: float
    cosine: float


class SurrogateInputBridge(GradientBridge):
    """The critic's side sees a mean and a covariance, never a sample.

    Costs K queries per sample, differentiated; memory grows with K. The pull is biased on
    a critic that is not quadratic: it is affine in the sample, whatever the critic;
    `affine_fit` measures how much that loses. Choose it when samples may not leave, but
    what they have in common may. Bonnet, Ann. Telecommun. 19, 1964; Price, IRE Trans.
    Inf. Theory 4, 1958.

    The loss in row i is the mean loss of the K surrogates in that row, which meet row i
    of the critic's context; it says nothing about sample i. Every row's loss is a
    function of the statistics, so a weight on it moves all samples of the batch (of the
    class, if `per_class`), as its derivative demands.

    Statistics are no privacy guarantee: those of few samples determine the samples.

    Args:
        statistics: what crosses.
        num_draws: K, the surrogates drawn for each sample.
        matched: give the surrogates of a batch its moments themselves, so that the pull
            has no noise on a quadratic critic; see `matched_noise`.
        per_class: statistics for each class apart; give the labels by `given`.

    Raises:
        ValueError: `num_draws` is below 1.
    """

    traits = Traits(
        choose_when="the other side may see what a batch has in common, and no sample",
        access=Access.GRADIENT,
        deterministic=False,
        unbiased_for="the mean loss of inputs with the statistics of the batch",
        queries="K",
        crosses="mean and covariance of the batch, from which surrogates are drawn",
        returns="d loss / d statistics",
        per_sample=False,
        stand_ins=True,
    )

    def __init__(
        self, statistics: Statistics, num_draws: int, matched: bool, per_class: bool
    ) -> None:
        super().__init__()
        if num_draws < 1:
            raise ValueError(f"num_draws must be at least 1, got {num_draws}; try 4")
        self.statistics = statistics
        self.num_draws = num_draws
        self.matched = matched
        self.per_class = per_class
        self._labels: Tensor | None = None

    def given(self, labels: Tensor | None) -> "SurrogateInputBridge":
        """This bridge for a batch with these labels; the bridge itself is unchanged.

        Row i then holds surrogates of class `labels[i]`. Classes that are too rare in the
        batch for statistics of their own share theirs with the next rarest.

        Raises:
            ValueError: `labels` are not integers `[batch]`.
        """
        if labels is None:
            return self
        if labels.ndim != 1 or labels.is_floating_point():
            raise ValueError(
                f"labels must be integers [batch], got {labels.dtype} of shape "
                f"{list(labels.shape)}"
            )
        bound = copy.copy(self)
        bound._labels = labels
        return bound

    def estimate(
        self, critic: Critic, emission: Emission
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """The losses of surrogates, which are their own proxy."""
        surrogates = self._surrogates(emission, self.num_draws)
        losses = critic(surrogates, num_query_dims=1).mean(0)
        return losses, losses

    def queries_per_sample(self, dim: int) -> int:  # noqa: ARG002
        """`num_draws`, whatever the dimension."""
        return self.num_draws

    @torch.no_grad()
    def exposed(self, emission: Emission) -> Tensor:
        """One surrogate for each sample; the discriminator trains on these."""
        return self._surrogates(emission, num_draws=1)[0]

    def moments(self, emission: Emission) -> list[Moments]:
        """All that crosses: the statistics of the batch, or of each group of classes.

        Raises:
            NonFiniteScoresError: samples are not finite.
            ValueError: samples are too few, or labels are missing.
        """
        parts, _ = self._parts(self._samples(emission))
        return [self.statistics(part) for part in parts]

    def affine_fit(
        self, critic: Critic, samples: Float[Tensor, "batch *event"]
    ) -> AffineFit:
        """The best that any affine pull could do, by least squares of grad f(x) on x.

        For tests and audits alone: *the samples themselves cross to the critic*. Take
        many more samples than elements, or the fit explains them by their number.

        Raises:
            ValueError: too few samples for a fit.
        """
        x = rows(samples.detach()).requires_grad_()
        num_samples, dim = x.shape
        if num_samples <= dim + 1:
            raise ValueError(
                f"an affine fit in {dim} dimensions needs more than {dim + 1} samples, "
                f"got {num_samples}; give ten for each element"
            )
        (gradient,) = torch.autograd.grad(critic(x.view_as(samples)).sum(), x)
        inputs, centred = (v - v.mean(0) for v in (x.detach(), gradient))
        left = centred - inputs @ torch.linalg.lstsq(inputs, centred).solution
        return AffineFit(_explained(left, centred), _explained(left, gradient) ** 0.5)

    def _samples(self, emission: Emission) -> Float[Tensor, "whole_batch *event"]:
        """The samples of all processes: the statistics are those of the whole batch."""
        samples = self.processes.gather(pathwise(emission, self))
        if not torch.compiler.is_compiling():
            _require_finite(samples)
        return samples

    def _surrogates(
        self, emission: Emission, num_draws: int
    ) -> Float[Tensor, "draws batch *event"]:
        """Surrogates of the whole batch, of which this process's rows are returned."""
        samples = self._samples(emission)
        parts, order = self._parts(samples)
        drawn = []
        # Autocast would lower the precision of the products that make a covariance.
        with torch.autocast(samples.device.type, enabled=False):
            for part in parts:
                moments = self.statistics(part)
                surrogates = draw_surrogates(
                    moments, num_draws * len(part), self.matched
                )
                drawn.append(surrogates.unflatten(0, (num_draws, len(part))))
        surrogates = torch.cat(drawn, dim=1)
        if order is not None:
            surrogates = surrogates[:, order.argsort()]
        surrogates = surrogates.to(samples.dtype).view(num_draws, *samples.shape)
        return self.processes.own(surrogates, dim=1)

    def _parts(
        self, samples: Float[Tensor, "batch *event"]
    ) -> tuple[list[Tensor], Tensor | None]:
        """The samples as vectors, apart by class, and the rows that they come from."""
        flat = wide(rows(samples))
        if not self.per_class:
            return [flat], None
        if self._labels is None:
            raise ValueError(
                "per_class statistics need the labels of the batch; choose a conditional "
                "generator (generator=conditional_dcgan), call "
                "bridge.given(labels)(critic, emission), or set per_class to false"
            )
        labels = self.processes.gather(self._labels)
        if len(labels) != len(samples):
            raise ValueError(
                f"{len(labels)} labels were given for a batch of {len(samples)}; "
                "give one for each sample"
            )
        groups = _groups(labels, self.statistics.least_samples(flat.shape[1]))
        return [flat[group] for group in groups], torch.cat(groups)


def _require_finite(samples: Float[Tensor, "batch *event"]) -> None:
    bad = int((~rows(samples).isfinite().all(1)).sum())
    if bad:
        raise NonFiniteScoresError(
            f"{bad} of {len(samples)} emitted samples hold NaN or infinite numbers, "
            "so the batch has no statistics; look for a diverged generator"
        )


def _explained(left: Float[Tensor, "..."], whole: Float[Tensor, "..."]) -> float:
    total = float(whole.square().sum())
    return max(0.0, 1 - float(left.square().sum()) / total) if total else 1.0


def _groups(labels: Int[Tensor, " batch"], least: int) -> list[Tensor]:
    """Rows of each class, the rarest classes together until they are `least` rows.

    The groups do not overlap: from the statistics of two sets that differ by one sample,
    that sample could be told.
    """
    classes, counts = labels.unique(return_counts=True)
    groups: list[Tensor] = []
    waiting = labels.new_empty(0, dtype=torch.int64)
    for label in classes[counts.argsort()]:
        waiting = torch.cat([waiting, (labels == label).nonzero()[:, 0]])
        if len(waiting) >= least:
            groups.append(waiting)
            waiting = waiting[:0]
    if len(waiting):
        groups[-1:] = [torch.cat([*groups[-1:], waiting])]
    return groups
