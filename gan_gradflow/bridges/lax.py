"""LAX: a learned control variate for draws that are functions of noise.

For a draw b, the critic's score f(b), and any differentiable network c,

    pull = [f(b) - c(b)] d log p(b) + d c(b)

with d the gradient in the emission, which passes through the b inside c and not through
the bracket: `control_variate.py` with z = b, and z~ = b held fixed. Unbiased for every c;
with c = f it is the pathwise gradient, with c = 0 the score function's.
"""

from torch.distributions import Distribution

from gan_gradflow.bridges.base import Traits
from gan_gradflow.bridges.control_variate import (
    ControlVariateBridge,
    Relaxation,
    reparameterised,
    smoothed,
)
from gan_gradflow.types import Access, Emission


class LAXBridge(ControlVariateBridge):
    """The score function with a learned control variate, for continuous emissions.

    Takes distributions with reparameterised samples, and tensors, which are given a
    Gaussian of width sigma. Costs K queries per sample and one small network's step.
    Choose it for long runs in few dimensions: what it gains, a network of that size has
    to be able to learn. Grathwohl et al., "Backpropagation through the Void", ICLR 2018.
    """

    traits = Traits(
        choose_when="only scores come back, the emission is continuous, and there is time "
        "to learn what lowers the variance of a score function",
        access=Access.SCORES,
        deterministic=False,
        unbiased_for="the expected loss of the draws; for a tensor, the loss smoothed "
        "by sigma",
        queries="K",
        crosses="draws from the emission's distribution; of a tensor also itself",
        returns="scores",
        per_sample=True,
    )

    def relax(self, emission: Emission) -> Relaxation:
        """Draws that are functions of noise.

        Raises:
            ValueError: the distribution has no reparameterised samples.
        """
        if not isinstance(emission, Distribution):
            return smoothed(emission, self.num_draws, self.sigma, self.processes)
        if emission.has_rsample:
            return reparameterised(emission, self.num_draws, self.processes)
        raise ValueError(
            f"LAXBridge needs draws that are functions of noise, and those of "
            f"{type(emission).__name__} are not; choose relax for a Bernoulli or a "
            "categorical, or score_function"
        )
