"""No measurement."""

from jaxtyping import Float
from torch import Tensor

from gan_gradflow.metrics.base import Reals, SampleQuality


class NoQuality(SampleQuality):
    """Measures nothing, costs nothing: for data that no measure here fits."""

    primary = None

    def __init__(self) -> None:
        super().__init__(num_samples=0)

    def prepare(self, data: Reals) -> None:
        """Keep nothing."""

    def measure(self, fakes: Float[Tensor, "n *event"]) -> dict[str, float]:  # noqa: ARG002
        """No figures."""
        return {}

    def floor(self) -> dict[str, float]:
        """No figures."""
        return {}
