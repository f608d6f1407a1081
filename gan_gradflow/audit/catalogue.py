"""Everything that an audit can find: its code, weight, meaning and usual cause.

The checks refer to these codes, `docs/audit.md` shows them, and a test keeps the three
together. Codes are stable: scripts may rely on them.
"""

from enum import Enum
from typing import NamedTuple


class Severity(Enum):
    """A violation fails the audit, a warning deserves a look, a note explains."""

    VIOLATION = "violation"
    WARNING = "warning"
    NOTE = "note"


class Entry(NamedTuple):
    """A catalogue entry: how grave a finding is, what it means, what causes it."""

    severity: Severity
    meaning: str
    cause: str


_VIOLATION, _WARNING, _NOTE = Severity.VIOLATION, Severity.WARNING, Severity.NOTE

CATALOGUE: dict[str, Entry] = {
    # before the first step
    "not-a-module": Entry(
        _VIOLATION,
        "A player is not a `torch.nn.Module`.",
        "a function or a state dict was passed instead of the network",
    ),
    "no-parameters": Entry(
        _VIOLATION,
        "A player has no parameters (or lazy ones that no forward pass has shaped).",
        "layers kept in a plain list instead of an `nn.ModuleList`; a lazy layer",
    ),
    "shared-parameters": Entry(
        _VIOLATION,
        "Both players hold the same parameters, so each update moves both.",
        "one module (an embedding, a backbone) passed to both networks",
    ),
    "optimizer-holds-other-player": Entry(
        _VIOLATION,
        "The optimizer that steps in one player's phase holds the other's parameters.",
        "one optimizer for both networks, or the two networks mixed up",
    ),
    "optimizer-misses-parameters": Entry(
        _VIOLATION,
        "No optimizer holds some trainable parameters, so they are never trained.",
        "the optimizer was built before the layers were added, or from a submodule",
    ),
    "optimizer-holds-strangers": Entry(
        _VIOLATION,
        "An optimizer holds parameters of neither network instead of a player's own.",
        "the network was rebuilt or copied after its optimizer was made",
    ),
    "optimizer-duplicates-parameters": Entry(
        _VIOLATION,
        "Two optimizers, or two groups of one, hold the same parameters.",
        "overlapping parameter groups; an optimizer built twice",
    ),
    # a phase that does not run
    "step-raised": Entry(
        _VIOLATION,
        "A step function raised an error.",
        "see the message; the audit calls the step functions as training does",
    ),
    "graph-reused": Entry(
        _VIOLATION,
        "`backward` went through a graph whose tensors were already freed.",
        "a tensor with a graph (fakes, scores, a running loss) was kept from an "
        "earlier step; detach it or compute it anew",
    ),
    "in-place-edit": Entry(
        _VIOLATION,
        "A tensor was overwritten behind autograd's back, or before `backward` read it.",
        "`.data`, an in-place operation under `no_grad`, an in-place activation as "
        "first layer, or an optimizer step between forward and backward",
    ),
    "non-finite-loss": Entry(
        _VIOLATION,
        "A loss is NaN or infinite.",
        "`log` of a score at 0 or 1, a division by zero, a learning rate too large",
    ),
    "non-finite-gradient": Entry(
        _VIOLATION,
        "A gradient that the optimizer used is NaN or infinite.",
        "the square root of a zero norm in a penalty, overflow, `log(0)`",
    ),
    "no-backward": Entry(
        _VIOLATION,
        "The step never calls `backward`.",
        "the call is missing, or hidden behind a condition",
    ),
    # who gets a gradient
    "no-gradient": Entry(
        _VIOLATION,
        "Parameters required a gradient in their own phase and got none.",
        "a `detach`, `.data`, `.item()` or a NumPy round trip on the way to the loss",
    ),
    "zero-gradient": Entry(
        _WARNING,
        "All gradients of a network in its own phase are exactly zero.",
        "dead activations, saturated scores, a hinge that is fully satisfied",
    ),
    "unused-parameters": Entry(
        _WARNING,
        "Trainable parameters belong to modules that the phase never runs.",
        "a layer that `forward` forgot, or that only some iterations use",
    ),
    "missing-detach": Entry(
        _VIOLATION,
        "The discriminator's loss sends a gradient into the generator.",
        "fakes are not detached (nor made under `no_grad`) in the discriminator's step",
    ),
    "detach-in-generator-step": Entry(
        _VIOLATION,
        "The fakes of the generator's step are cut off from the generator.",
        "`.detach()`, `.data` or a NumPy round trip between generator and discriminator",
    ),
    "no-grad-around-generator": Entry(
        _VIOLATION,
        "The generator's step runs the generator without a graph.",
        "`torch.no_grad()` or `inference_mode()` around the generator",
    ),
    "no-grad-around-discriminator": Entry(
        _VIOLATION,
        "A step runs the discriminator without a graph, so nothing can pass it.",
        "`torch.no_grad()` used to freeze it; `requires_grad_(False)` is meant",
    ),
    "generator-breaks-graph": Entry(
        _VIOLATION,
        "The generator runs with gradients enabled, yet its output carries no graph.",
        "arg-max, rounding, `.data` or `detach` inside the generator",
    ),
    "player-frozen": Entry(
        _VIOLATION,
        "A player's parameters do not require a gradient in their own phase.",
        "`requires_grad_(False)` that was never undone",
    ),
    "generator-not-called": Entry(
        _VIOLATION,
        "The generator's step does not involve the generator.",
        "fakes were computed once, outside the step",
    ),
    "discriminator-not-called": Entry(
        _VIOLATION,
        "A step never runs the discriminator.",
        "the loss is computed on the wrong tensors, or with another copy of the network",
    ),
    "no-reals": Entry(
        _VIOLATION,
        "The discriminator's step shows the discriminator fakes only.",
        "fakes passed twice, reals overwritten",
    ),
    "no-fakes": Entry(
        _VIOLATION,
        "The discriminator's step shows the discriminator nothing that the generator "
        "emitted.",
        "reals passed twice; latents or noise passed instead of fakes",
    ),
    # fakes and latents
    "stale-fakes": Entry(
        _VIOLATION,
        "A step uses fakes of a generator that has been updated more than once since.",
        "fakes computed outside the loop, or kept from an earlier iteration",
    ),
    "fakes-one-update-old": Entry(
        _NOTE,
        "The discriminator sees fakes from just before the generator's last update.",
        "one forward pass serves both steps, the generator's first; usual and harmless",
    ),
    "latents-not-renewed": Entry(
        _WARNING,
        "The generator gets the same input in every iteration.",
        "latents drawn once, outside the loop; a seed that is set in every step",
    ),
    # gradients from elsewhere
    "gradients-not-zeroed": Entry(
        _VIOLATION,
        "An update contains gradients that an earlier update already used.",
        "`zero_grad` is missing",
    ),
    "leftover-from-other-phase": Entry(
        _VIOLATION,
        "An update contains gradients that the other player's phase left behind.",
        "`zero_grad` comes after the own step only; call it before `backward`",
    ),
    "gradient-in-other-phase": Entry(
        _NOTE,
        "The generator's step also computes gradients for the discriminator; they are "
        "zeroed before use, so only time is lost.",
        "the discriminator is not frozen with `requires_grad_(False)` meanwhile",
    ),
    "step-before-backward": Entry(
        _VIOLATION,
        "The optimizer steps before this step's gradients exist.",
        "`optimizer.step()` stands before `loss.backward()`",
    ),
    "zeroed-before-step": Entry(
        _VIOLATION,
        "Gradients are zeroed between `backward` and the optimizer's step.",
        "`zero_grad` stands after `backward`",
    ),
    # updates
    "no-update": Entry(
        _VIOLATION,
        "A player's own phase leaves its parameters unchanged.",
        "the optimizer's step is missing, its learning rate is zero, or it holds other "
        "parameters",
    ),
    "other-player-updated": Entry(
        _VIOLATION,
        "A phase changes the other player's parameters.",
        "the other player's optimizer steps here too, or one optimizer holds both",
    ),
    "weights-changed-outside-optimizer": Entry(
        _VIOLATION,
        "Weights change in a phase by something else than an optimizer's step.",
        "a copy, `load_state_dict`, re-initialisation or normalisation in the step",
    ),
    "averaging-into-live-weights": Entry(
        _VIOLATION,
        "The update is taken back: averaged weights are written into the live network.",
        "source and target of the weight average are swapped",
    ),
    "weights-clipped": Entry(
        _NOTE,
        "The discriminator's weights are clipped after its step.",
        "the original Wasserstein GAN; a gradient penalty usually trains better",
    ),
    "clipped-before-unscaling": Entry(
        _VIOLATION,
        "Gradients are edited while still multiplied by the gradient scaler's factor.",
        "`scaler.unscale_(optimizer)` is missing before clipping",
    ),
    "clipped-after-step": Entry(
        _WARNING,
        "Gradients are edited after the optimizer used them.",
        "clipping stands after `optimizer.step()`",
    ),
    "scaled-gradient-stepped": Entry(
        _VIOLATION,
        "The optimizer uses gradients that are still scaled up.",
        "`optimizer.step()` where `scaler.step(optimizer)` is meant",
    ),
    # buffers and modes
    "buffers-in-wrong-phase": Entry(
        _VIOLATION,
        "Buffers change in the other player's phase and not in their own.",
        "`train()` and `eval()` swapped: statistics are learned in the wrong phase",
    ),
    "buffers-in-both-phases": Entry(
        _NOTE,
        "Buffers change in the other player's phase as well (strict: a violation).",
        "the other player runs in training mode there; usual in public code, though "
        "batch-norm statistics of the discriminator then lean towards fakes",
    ),
    "generator-in-eval-mode": Entry(
        _VIOLATION,
        "The generator trains in evaluation mode though its layers depend on the mode.",
        "`generator.eval()` for sampling, and no `generator.train()` afterwards",
    ),
    "discriminator-in-eval-mode": Entry(
        _VIOLATION,
        "The discriminator trains in evaluation mode though its layers depend on it.",
        "`discriminator.eval()` that was never undone",
    ),
    # direction
    "wrong-sign-generator": Entry(
        _VIOLATION,
        "The generator's update makes its fakes look less real to the discriminator.",
        "a minus too many or too few, or the fakes' label, in the generator's loss",
    ),
    "wrong-sign-discriminator": Entry(
        _VIOLATION,
        "The discriminator's update brings reals and fakes together.",
        "real and fake labels swapped, or a wrong sign in the discriminator's loss",
    ),
    "discriminator-blind": Entry(
        _VIOLATION,
        "The discriminator's loss pushes the scores of reals and fakes the same way.",
        "the same label, or the same sign, for reals and for fakes",
    ),
    "scores-low-for-reals": Entry(
        _NOTE,
        "This discriminator gives reals the lower scores, and the generator agrees.",
        "an energy-based convention, or a wrong sign in both losses at once",
    ),
    "scores-not-attributed": Entry(
        _NOTE,
        "The signs of the losses were not judged.",
        "scores are not one number per sample, or fakes lost their trace on the way",
    ),
    "loss-averaged-twice": Entry(
        _VIOLATION,
        "The gradient is smaller than that of a mean loss by about the batch size.",
        "a mean over the batch that is divided by the batch size once more",
    ),
    "loss-summed": Entry(
        _WARNING,
        "The gradient is larger than that of a mean loss by about the batch size.",
        "`sum` instead of `mean` over the batch",
    ),
    "sigmoid-twice": Entry(
        _VIOLATION,
        "Probabilities go into a loss that expects logits.",
        "a discriminator that ends in a sigmoid with `binary_cross_entropy_with_logits`",
    ),
    "update-raises-loss": Entry(
        _WARNING,
        "A player's update goes up its own loss.",
        "negated gradients, or an ascending update; fine only if the loss is a reward",
    ),
    "first-order-mismatch": Entry(
        _WARNING,
        "The loss does not change as its gradient from autograd predicts.",
        "a part of the loss is detached, a straight-through estimator, an in-place edit",
    ),
    "penalty-without-create-graph": Entry(
        _VIOLATION,
        "A gradient penalty is computed without a graph: it cannot train anything.",
        "`create_graph=True` is missing in `torch.autograd.grad`",
    ),
    "penalty-detached": Entry(
        _VIOLATION,
        "A gradient penalty changes the loss's value but no gradient.",
        "`.item()`, `.data`, `detach` or `no_grad` on the penalty",
    ),
    "not-reproducible": Entry(
        _NOTE,
        "Repeating a step from the same state gave another loss, so checks that compare "
        "two runs were left out.",
        "data drawn from an iterator inside the step; pass them as `batches=[...]`",
    ),
    # what crosses the boundary
    "latents-crossed": Entry(
        _VIOLATION,
        "The discriminator's side read the generator's latents.",
        "a conditional input taken from the wrong tensor, or latents in the samples",
    ),
    "weights-crossed": Entry(
        _VIOLATION,
        "The discriminator's side read the generator's weights.",
        "a layer or a buffer that both players hold, or a penalty on the wrong network",
    ),
    "samples-crossed": Entry(
        _VIOLATION,
        "The discriminator's side got raw samples that the bridge does not expose.",
        "a bridge whose `exposed` hides what its `estimate` hands to the critic",
    ),
    "gradient-came-back": Entry(
        _VIOLATION,
        "A gradient came back from a critic that grants scores only.",
        "a bridge that calls the discriminator itself instead of the critic it is given",
    ),
    # the bridge's gradient
    "pull-points-away": Entry(
        _VIOLATION,
        "The bridge's gradient has the opposite direction of the true one on average.",
        "a sign lost in the bridge's formula",
    ),
    "pull-off-by-a-factor": Entry(
        _VIOLATION,
        "An estimate that should be unbiased is more than twice or less than half of the "
        "gradient.",
        "a factor of the step, of the number of directions or of the dimension that is "
        "missing; a step far too long for this critic",
    ),
    "pull-biased": Entry(
        _WARNING,
        "A tenth or more of the squared gradient is bias, which no averaging removes.",
        "a step or a sigma too long for this critic; a bridge that is biased by nature",
    ),
    "pull-noisier-than-theory": Entry(
        _WARNING,
        "The variance is more than twice that of the formula.",
        "directions that are not independent; a critic that is rough within the step",
    ),
    "bridge-failed": Entry(
        _WARNING,
        "The bridge, or the critic it asked, raised an error where it was measured.",
        "see the message; the round of training calls the bridge in the same way",
    ),
    "fidelity-not-measured": Entry(
        _NOTE,
        "How good the bridge's gradient is was not measured.",
        "an emission, such as a sequence, that is not made of tensors with a gradient",
    ),
    # health
    "vanishing-gradients": Entry(
        _WARNING,
        "Gradients shrink by more than four orders of magnitude between layers.",
        "saturating activations, missing normalisation, too deep a network",
    ),
    "exploding-gradients": Entry(
        _WARNING,
        "A gradient is more than a thousand times larger than its weights.",
        "missing normalisation, a penalty weight too large, a loss that is summed",
    ),
    "saturated-scores": Entry(
        _WARNING,
        "At its actual scores a loss is almost flat: hardly any gradient enters.",
        "a discriminator far ahead with a saturating loss; try the non-saturating one",
    ),
    "dead-units": Entry(
        _WARNING,
        "More than half of a layer's units are zero for the whole batch.",
        "a learning rate too large, a bad initialisation; try a leaky activation",
    ),
    "precision-loss": Entry(
        _WARNING,
        "Gradients in the network's precision differ from those in float64 by over 1 %.",
        "cancellation, badly scaled weights or inputs, 16-bit parameters",
    ),
    "bf16-loses-gradient": Entry(
        _NOTE,
        "In bf16 some layers' gradients would be off by more than half.",
        "cancellation; keep these layers in float32 under autocast",
    ),
}
