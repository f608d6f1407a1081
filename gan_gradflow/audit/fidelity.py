"""How good the gradient of each bridge is, against the queries it spends.

Every bridge is measured at several budgets on one batch of one generator and one critic,
beside what theory expects of it. With v the relative variance of the pull, in theory
`GradientBridge.relative_variance`, and G the generator's gradient of the mean loss,

    cosine of the pull                     1 / sqrt(1 + v), for large d
    relative variance of the parameters    v * E|J^T w / n|^2 / |G|^2
    cosine on the parameters               1 / sqrt(1 + their relative variance)

where J is the derivative of the emission, and w noise in random directions that on each
sample is as large as its gradient: what the generator makes of an error of the pull, whose
direction it does not know. A few such w are drawn and followed to the parameters.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from gan_gradflow.audit.findings import Finding, finding
from gan_gradflow.audit.own_round import Seen
from gan_gradflow.audit.report import FIDELITY, Table
from gan_gradflow.bridges.base import GradientBridge
from gan_gradflow.bridges.distributions import keeps_parameters, parameters_of
from gan_gradflow.critic import Critic
from gan_gradflow.metrics.gradient_fidelity import (
    Fidelity,
    GradientFidelity,
    following_to,
    measure_fidelity,
)
from gan_gradflow.metrics.gradient_reference import Reference, reference_pull
from gan_gradflow.modules.adversarial import AdversarialModule
from gan_gradflow.modules.freezing import frozen
from gan_gradflow.types import Access, Emission

_PROBES = 16
_FEWEST_DRAWS = 8
_LEAP = 0.1  # step of a reference across a channel that is flat between jumps
_CHUNK = 256  # samples that stay in a cache
_BEYOND_CHANCE = 5  # standard errors


@dataclass(frozen=True)
class Point:
    """A bridge at one budget: what was measured, and what theory expects if it can."""

    measured: GradientFidelity
    variance: float | None
    parameter_variance: float | None


@dataclass(frozen=True)
class Curve:
    """A bridge at every budget; or the reason why it does not apply, or failed.

    Nothing is measured where an emission is out of reach, which is nobody's fault.
    """

    bridge: str
    points: tuple[Point, ...] = ()
    reason: str = ""
    unbiased: bool = False
    failed: bool = False
    out_of_reach: bool = False


def measure_curves(
    module: AdversarialModule,
    seen: Seen,
    bridges: Mapping[str, Sequence[GradientBridge] | str],
    total_queries: int,
    access: Access | None,
) -> list[Curve]:
    """Measure every bridge between the players of a module, which is left as it was.

    Args:
        module: with the players, the channel, and the critic's chunk size.
        seen: the batch; its second latents are used.
        bridges: by name, each bridge at every budget, or the reason why it cannot be.
        total_queries: queries per sample for each budget, in draws of the bridge, of which
            there are never fewer than 8.
        access: what the critic grants; None grants each bridge the least that it needs.
    """
    module = copy.deepcopy(module)
    emission = module.generator(seen.latents[1], seen.labels)
    if isinstance(emission, Distribution) and not keeps_parameters(emission):
        reason = f"{type(emission).__name__} keeps no tensors that a pull is known on"
        return [Curve(name, reason=reason, out_of_reach=True) for name in bridges]
    laboratory = _Laboratory(module, seen, emission, access)
    curves = []
    with frozen(module.discriminator.network):
        for name, budgets in bridges.items():
            if isinstance(budgets, str):
                curves.append(Curve(name, reason=budgets))
            else:
                curves.append(laboratory.curve(name, budgets, total_queries))
    return curves


class _Laboratory:
    """One batch, with its emission, its reference and what the generator makes of noise."""

    def __init__(
        self,
        module: AdversarialModule,
        seen: Seen,
        emission: Emission,
        access: Access | None,
    ) -> None:
        self.module = module
        self.access = access
        self.parameters = list(module.generator.network.parameters())
        self.labels = seen.labels
        self.emission = emission
        self.at: list[Tensor] = (
            parameters_of(emission)
            if isinstance(emission, Distribution)
            else [emission]
        )
        received = module.received_reals(seen.reals)
        self.context = module.discriminator.context(received, seen.labels)
        self._reference: Reference | None = None
        self._gain: float | None = None

    def curve(
        self, name: str, budgets: Sequence[GradientBridge], total_queries: int
    ) -> Curve:
        """A bridge at each of its budgets; a failure becomes a reason."""
        points = []
        try:
            reference = self._reference_for(budgets[0])
            for bridge in budgets:
                points.append(self._point(bridge, reference, total_queries))
        except ValueError as error:
            return Curve(name, reason=_first_line(error))
        except Exception as error:
            reason = f"{type(error).__name__}: {_first_line(error)}"
            return Curve(name, reason=reason, failed=True)
        traits = budgets[0].traits
        unbiased = not traits.stand_ins and "nothing" not in traits.unbiased_for
        return Curve(name, tuple(points), unbiased=unbiased)

    def _point(
        self, bridge: GradientBridge, reference: Reference, total_queries: int
    ) -> Point:
        bridge = bridge.to(self.module.device).given(self.labels)
        still = bridge.traits.deterministic and isinstance(self.emission, Tensor)
        still = still and self.module.channel.traits.deterministic
        bridge.eval()
        queries = bridge.queries_per_sample(self.dim)
        measured = measure_fidelity(
            bridge,
            self._critic(bridge),
            self.emission,
            reference,
            1 if still else max(_FEWEST_DRAWS, round(total_queries / queries)),
            self.at if isinstance(self.emission, Distribution) else (),
            self.parameters,
        )
        theory = None
        if (
            isinstance(self.emission, Tensor)
            and self.module.channel.traits.deterministic
        ):
            theory = bridge.relative_variance(self.dim)
        through = None if theory is None else theory * self._noise_gain()
        return Point(measured, theory, through)

    @property
    def dim(self) -> int:
        """The elements of a sample."""
        return sum(tensor[0].numel() for tensor in self.at)

    def _critic(self, bridge: GradientBridge) -> Critic:
        """The critic that this bridge would have in training; refused where it cannot."""
        generator = copy.copy(self.module.generator)
        generator._modules = {**generator._modules, "bridge": bridge}
        chunk_size = self.module.critic.chunk_size or _CHUNK
        critic = AdversarialModule(
            generator=generator,
            discriminator=self.module.discriminator,
            n_critic=1,
            seed=0,
            access=self.access,
            budget=None,
            chunk_size=chunk_size,
            on_nonfinite="stop",
        ).critic
        critic.context = self.context
        return critic

    def _reference_for(self, bridge: GradientBridge) -> Reference:
        """The truth for what this bridge lets the critic see of the emission."""
        if not bridge.traits.any_emission:
            return self._through(bridge)
        if self._reference is None:
            self._reference = self._true_pull()
        return self._reference

    def _true_pull(self) -> Reference:
        channel = self.module.channel.traits
        critic = Critic(
            lambda samples, *context: self.module.discriminator.generator_losses(
                self.module.channel(samples), *context
            ),
            context=self.context,
            access=self._reference_access(),
            chunk_size=self.module.critic.chunk_size or _CHUNK,
        )
        return reference_pull(
            critic,
            self.emission,
            self.at if isinstance(self.emission, Distribution) else (),
            random_critic=not channel.deterministic,
            step=None if channel.differentiable else _LEAP,
        )

    def _reference_access(self) -> Access:
        scores_only = self.access is Access.SCORES
        passes = self.module.channel.traits.differentiable and not scores_only
        return Access.GRADIENT if passes else Access.SCORES

    def _through(self, bridge: GradientBridge) -> Reference:
        """Differences through whatever the bridge makes of samples, such as a solver."""
        critic = self._critic(bridge)
        function = critic.function
        critic.function = lambda samples, *context: function(
            bridge.samples(samples), *context
        )
        return reference_pull(critic.scores_only(), self.emission)

    def _noise_gain(self) -> float:
        """E|J^T w / n|^2 / |G|^2 for noise w as large as the gradient on each sample."""
        if self._gain is None:
            pull = self._reference_for_noise()
            follow = following_to(self.at, self.parameters)
            sizes = pull.norm(dim=1, keepdim=True) / pull.shape[1] ** 0.5
            squares = [
                follow(sizes * torch.randn_like(pull)).square().sum()
                for _ in range(_PROBES)
            ]
            self._gain = float(sum(squares) / _PROBES / follow(pull).square().sum())
        return self._gain

    def _reference_for_noise(self) -> Tensor:
        if self._reference is None:
            self._reference = self._true_pull()
        return self._reference.pulls.mean(0)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.partition("\n")[0][:300] or type(error).__name__


def check_fidelity(curves: Sequence[Curve], configured: str) -> Iterator[Finding]:
    """Findings on the bridge that is configured, at its smallest budget and upwards.

    The others are measured to choose from, and are judged by nobody.
    """
    for curve in curves:
        if curve.bridge != configured:
            continue
        if curve.reason:
            code = "fidelity-not-measured" if curve.out_of_reach else "bridge-failed"
            yield finding(code, "generator", curve.reason)
        for point in curve.points:
            yield from _check_point(curve, point)


def _check_point(curve: Curve, point: Point) -> Iterator[Finding]:
    pull = point.measured.pull
    scale, bias, variance = pull.scale, pull.squared_bias, pull.variance
    where = (
        f"{curve.bridge} at {point.measured.queries_per_sample:g} queries per sample"
    )
    if scale.value + _BEYOND_CHANCE * scale.error < 0:
        yield finding(
            "pull-points-away", "generator", f"{where}: scale {scale.value:.2g}"
        )
    elif curve.unbiased and (
        scale.value + _BEYOND_CHANCE * scale.error < 0.5
        or scale.value - _BEYOND_CHANCE * scale.error > 2
    ):
        yield finding(
            "pull-off-by-a-factor",
            "generator",
            f"{where}: scale {scale.value:.3g} ± {scale.error:.1g}, where 1 is right",
        )
    elif bias.value - _BEYOND_CHANCE * bias.error > 0.1:
        yield finding(
            "pull-biased",
            "generator",
            f"{where}: squared bias {bias.value:.2g} ± {bias.error:.1g} of the squared "
            "gradient",
        )
    if point.variance and variance.value > 2 * point.variance:
        yield finding(
            "pull-noisier-than-theory",
            "generator",
            f"{where}: relative variance {variance.value:.3g}, in theory "
            f"{point.variance:.3g}",
        )


def fidelity_tables(
    curves: Sequence[Curve], findings: Sequence[Finding]
) -> list[Table]:
    """The pull and the parameters' gradient at every budget, and what was left out."""
    tables = [
        _table("The pull on a sample", curves, findings, parameters=False),
        _table("The generator's gradient", curves, findings, parameters=True),
    ]
    left_out = tuple((c.bridge, c.reason, "") for c in curves if c.reason)
    if left_out:
        columns = ("bridge", "reason", "finding")
        tables.append(
            Table("Bridges that were not measured", columns, left_out, FIDELITY)
        )
    return tables


def _table(
    title: str,
    curves: Sequence[Curve],
    findings: Sequence[Finding],
    *,
    parameters: bool,
) -> Table:
    rows = []
    for curve in curves:
        for point in curve.points:
            measured = point.measured
            seen = measured.parameters if parameters else measured.pull
            expected = point.parameter_variance if parameters else point.variance
            assert isinstance(seen, Fidelity), "parameters were asked for"
            where = f"{curve.bridge} at {measured.queries_per_sample:g} queries"
            rows.append(
                (
                    curve.bridge,
                    measured.queries_per_sample,
                    seen.scale,
                    seen.cosine,
                    None if expected is None else cosine_in_theory(expected),
                    seen.variance,
                    expected,
                    seen.squared_bias,
                    seen.signal,
                    measured.reference,
                    ", ".join(f.code for f in findings if f.message.startswith(where)),
                )
            )
    columns = (
        "bridge",
        "queries",
        "scale",
        "cosine",
        "cos. theory",
        "variance",
        "var. theory",
        "bias^2",
        "signal / noise",
        "against",
        "finding",
    )
    return Table(title, columns, tuple(rows), FIDELITY)


def cosine_in_theory(variance: float) -> float:
    """The cosine with the truth that goes with a relative variance, without bias."""
    return (1 + variance) ** -0.5
