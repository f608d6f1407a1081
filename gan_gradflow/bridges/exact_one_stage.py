"""The exact gradient, taken from the discriminator's own backward.

In the round of `AdversarialModule` the pull is r_i dL_D,i / dx_i, a by-product of the
discriminator's update: `modules/one_stage.py` has the mathematics. Called by itself, with
a critic, it is the exact bridge.
"""

from dataclasses import replace

from gan_gradflow.bridges.exact import ExactBridge


class ExactOneStageBridge(ExactBridge):
    """The exact gradient for less: both players share one pass of the discriminator.

    Saves a forward of each network and a backward of the discriminator in each iteration.
    The game is another one: the players move at the same time, from the same latents, and
    the generator's gradient comes from the discriminator *before* its update. Choose it
    when time counts and the discriminator treats samples independently (no batch norm),
    with no penalty on the fakes. With `n_critic` above 1 the last update is the shared one.
    """

    traits = replace(
        ExactBridge.traits,
        choose_when="as exact, and time counts: both players learn from one pass of the "
        "discriminator, before its update",
        per_sample=True,
        shares_a_pass=True,
    )
