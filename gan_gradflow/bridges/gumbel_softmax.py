"""Gumbel-softmax: a discrete draw, softened until autograd can pass.

For logits l, Gumbel noise g and a temperature t,

    y = softmax((l + g) / t)

tends to a one-hot draw of softmax(l) as t goes to 0; for a Bernoulli,
y = sigmoid((l + logistic noise) / t). The pull is the pathwise gradient of loss(y): right
for the softened draws, biased for hard ones, with a variance that grows as t falls.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Bernoulli, Distribution
from torch.nn.functional import one_hot

from gan_gradflow.bridges.base import GradientBridge, Traits, wide
from gan_gradflow.bridges.distributions import two_valued
from gan_gradflow.bridges.straight_through import passed_through
from gan_gradflow.critic import Critic
from gan_gradflow.types import Access, Emission


class GumbelSoftmaxBridge(GradientBridge):
    """Biased for hard draws; one query per sample, and a critic that gives its gradient.

    Takes Bernoulli and OneHotCategorical emissions; a tensor is continuous already and
    passes as it is. Choose it when the critic may see soft samples. Jang, Gu and Poole;
    Maddison, Mnih and Teh, both ICLR 2017.

    Args:
        temperature: of the softening; lower is less biased and noisier.
        hard: the critic sees the hard draw, and the gradient is the soft one's.

    Raises:
        ValueError: `temperature` is not positive.
    """

    traits = Traits(
        choose_when="draws are Bernoulli or one-hot, the critic can be differentiated "
        "and judge soft ones, and a bias is accepted",
        access=Access.GRADIENT,
        deterministic=True,
        unbiased_for="the expected loss of softened draws; of hard ones nothing",
        queries="1",
        crosses="softened draws",
        returns="d loss / d samples",
        per_sample=False,
    )

    def __init__(self, temperature: float, hard: bool) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(
                f"temperature must be positive, got {temperature}; try 0.5"
            )
        self.temperature = temperature
        self.hard = hard

    def estimate(
        self, critic: Critic, emission: Emission
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """The losses of softened draws, which are their own proxy."""
        losses = critic(self._softened(emission))
        return losses, losses

    def queries_per_sample(self, dim: int) -> int:  # noqa: ARG002
        """One, whatever the dimension."""
        return 1

    def exposed(self, emission: Emission) -> Tensor:
        """Draws as the critic sees them."""
        return self._softened(emission).detach()

    def _softened(self, emission: Emission) -> Tensor:
        if not isinstance(emission, Distribution):
            return emission
        base = two_valued(emission, "GumbelSoftmaxBridge")
        logits = wide(base.logits)
        tiny = torch.finfo(logits.dtype).eps
        shape = self.processes.whole(logits).shape
        uniforms = torch.rand(shape, dtype=logits.dtype, device=logits.device)
        uniforms = self.processes.own(uniforms).clamp(tiny, 1 - tiny)
        if isinstance(base, Bernoulli):
            soft = ((logits + uniforms.logit()) / self.temperature).sigmoid()
            hard = soft > 0.5
        else:
            noisy = logits - (-uniforms.log()).log()
            soft = (noisy / self.temperature).softmax(-1)
            hard = one_hot(soft.argmax(-1), soft.shape[-1])
        soft = soft.to(base.logits.dtype)
        return passed_through(hard.to(soft.dtype), soft) if self.hard else soft
