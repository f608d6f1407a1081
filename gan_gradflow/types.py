"""What passes between generator, bridge and critic, and how it is shaped.

`batch` is one entry for each latent, `event` the shape of one sample, `queries` any
number of leading dimensions in which a bridge asks about one sample several times.
"""

from enum import Enum
from typing import TypeAlias

from torch import Tensor
from torch.distributions import Distribution

Emission: TypeAlias = Tensor | Distribution
"""What a generator hands to the bridge: a tensor `[batch, *event]`, or a distribution of
batch shape `[batch]` whose parameters carry the graph."""


class Access(Enum):
    """What a critic lets a bridge have: its scores only, or its gradient as well."""

    SCORES = "scores"
    GRADIENT = "gradient"
