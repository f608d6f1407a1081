"""Keeping the last and the best state of a run."""

from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint


class KeptCheckpoint(ModelCheckpoint):
    """Lightning's, which forgets one of its own figures when it is loaded."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """All that `state_dict` gave."""
        super().load_state_dict(state_dict)
        self.current_score = state_dict["current_score"]
