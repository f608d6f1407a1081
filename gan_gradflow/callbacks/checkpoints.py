"""Keeping the last and the best state of a run."""

from functools import cached_property
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint


class KeptCheckpoint(ModelCheckpoint):
    """Lightning's, which forgets one of its own figures when it is loaded."""

    @cached_property
    def state_key(self) -> str:  # type: ignore[override]
        """Its name in a checkpoint; asked for a dozen times in every iteration."""
        return super().state_key

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """All that `state_dict` gave."""
        super().load_state_dict(state_dict)
        self.current_score = state_dict["current_score"]
