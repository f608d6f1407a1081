"""What the callbacks of this project have in common: they are silent inside an iteration.

Lightning calls every hook of every callback, and with ten of them the calls that do
nothing take a third of a millisecond of each iteration. It passes over a hook that is not
callable.
"""

from typing import Any

import lightning as L


class Callback(L.Callback):
    """Lightning's, without the hooks of an iteration; a subclass defines those it needs."""

    on_train_batch_start: Any = None
    on_before_backward: Any = None
    on_after_backward: Any = None
    on_before_optimizer_step: Any = None
    on_train_batch_end: Any = None
