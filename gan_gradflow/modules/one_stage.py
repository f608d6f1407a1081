"""One forward and one backward of the discriminator for both players.

The backward of the discriminator's loss L_D passes the fakes x_i on its way to the
weights. There it leaves, for each sample of score s_i,

    dL_D,i / dx_i  =  (dL_D,i / ds_i)  ds_i / dx_i,

which is the generator's gradient up to a number for each sample that is known in closed
form:

    dL_G,i / dx_i  =  r_i  dL_D,i / dx_i,     r_i = (dL_G,i / ds_i) / (dL_D,i / ds_i).

So neither a second forward nor a second backward is needed, nor other latents. It holds
where s_i depends on x_i alone and nothing else in the discriminator's loss on x_i. Where
dL_D,i / ds_i vanishes, r_i is infinite (the hinge beyond its margin), and where it is
tiny, so are the gradients on the way, which float32 rounds to zero below 1e-38: such
samples are scored and differentiated once more.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gan_gradflow.modules.discriminator import DiscriminatorModule
from gan_gradflow.modules.freezing import frozen

_LARGEST_RATIO = 1e20


def shared_pull(
    discriminator: DiscriminatorModule,
    fakes: Float[Tensor, "n *event"],
    real_scores: Float[Tensor, " n"],
    fake_scores: Float[Tensor, " n"],
    labels: Int[Tensor, " n"] | None,
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n *event"]]:
    """The generator's losses, and the gradient of their mean on the fakes.

    Args:
        discriminator: not yet updated.
        fakes: leaves, after the backward of the discriminator's mean loss.
        real_scores: of the reals that the fakes were paired with in that loss.
        fake_scores: what the loss made of the fakes.
        labels: the classes of the fakes, if there are any.

    Raises:
        ValueError: a score is not that of one sample.
    """
    if len(fake_scores) != len(fakes):
        raise ValueError(
            f"the discriminator gives {len(fake_scores)} scores for {len(fakes)} samples, "
            "and one pass serves both players where each sample has one; choose "
            "bridge=exact"
        )
    reals, scores = real_scores.detach(), fake_scores.detach()
    losses = discriminator.objective.generator_losses(scores, reals)
    ratios = discriminator.objective.slope_ratios(scores, reals)
    assert ratios is not None, "an objective without ratios is refused at the start"
    assert fakes.grad is not None, "the discriminator's backward comes first"
    pull = _of_each(ratios.to(fakes.grad.dtype), fakes) * fakes.grad
    lost = ~(ratios.abs() < _LARGEST_RATIO)
    if lost.any():
        classes = None if labels is None else labels[lost]
        pull[lost] = _pull(discriminator, fakes[lost], reals[lost], classes) / len(
            fakes
        )
    return losses, pull


def refuse_one_stage(discriminator: DiscriminatorModule) -> None:
    """Raise a ValueError unless one backward can serve both players.

    A discriminator that couples samples is refused by the bridge's traits.
    """
    objective, penalty = discriminator.objective, discriminator.penalty
    if penalty.on_fakes:
        raise ValueError(
            f"ExactOneStageBridge takes the gradient on the fakes from the discriminator's "
            f"own loss, and {type(penalty).__name__} puts a term of its own there; choose "
            "bridge=exact, or penalty=r1, which is on the reals"
        )
    if discriminator.augmentation.num_draws:
        raise ValueError(
            "ExactOneStageBridge asks about some fakes a second time, and "
            f"{type(discriminator.augmentation).__name__} would change them anew; choose "
            "bridge=exact, or augmentation=none"
        )
    scores = torch.zeros(1)
    if objective.slope_ratios(scores, scores) is None:
        raise ValueError(
            f"ExactOneStageBridge needs the ratio of the players' slopes, and "
            f"{type(objective).__name__} has no `slope_ratios`; choose bridge=exact, or "
            "write that method"
        )


def _pull(
    discriminator: DiscriminatorModule,
    fakes: Tensor,
    real_scores: Tensor,
    labels: Tensor | None,
) -> Tensor:
    leaves = fakes.detach().requires_grad_()
    with frozen(discriminator.network):
        scores = discriminator(leaves, labels)
        losses = discriminator.objective.generator_losses(scores, real_scores)
        return torch.autograd.grad(losses.sum(), leaves)[0]


def _of_each(numbers: Tensor, samples: Tensor) -> Tensor:
    return numbers.view(-1, *[1] * (samples.ndim - 1))
