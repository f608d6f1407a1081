"""A module and an optimizer as they were, so that what failed half-way can be undone."""

from collections.abc import Collection
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Key = TypeVar("Key")


class Snapshot:
    """Copies of what an iteration changes before it is sure to succeed.

    A copy costs a pass over these tensors, into memory that is kept from one iteration to
    the next. What a module names in `stands` is left as it is: counts of what was done,
    whatever came of it.

    Args:
        module: its parameters and buffers are copied.
        left_out: names in its state that are not.
        optimizer: its state is copied.
    """

    def __init__(
        self, module: nn.Module, left_out: Collection[str], optimizer: Optimizer
    ) -> None:
        self._module, self._optimizer = module, optimizer
        # `state_dict` of the whole would walk the tree each time, ten times as slowly.
        self._parts = {
            f"{name}." if name else "": part
            for name, part in module.named_modules(remove_duplicate=False)
            if part._parameters or part._buffers or _has_extra_state(part)
        }
        stands = {
            prefix + name
            for prefix, part in self._parts.items()
            for name in getattr(part, "stands", ())
        }
        self._left_out = stands.union(left_out)
        self._kept: dict[str, Tensor] = {}
        self._moments: dict[tuple[int, str], Tensor] = {}

    @torch.no_grad()
    def take(self) -> None:
        """Remember everything as it is now."""
        self._kept = _copied(self._state(), self._kept)
        self._moments = _copied(self._tensors(), self._moments)

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back to how it was."""
        self._module.load_state_dict(self._kept, strict=False)
        for (index, name), tensor in self._tensors().items():
            kept = self._moments.get((index, name))
            if kept is None:  # an optimizer's first step makes its state
                self._optimizer.state.pop(self._parameters()[index], None)
            else:
                tensor.copy_(kept)

    def _state(self) -> dict[str, Tensor]:
        """What `state_dict` has, without what is left out."""
        state = {
            prefix + name: tensor
            for prefix, part in self._parts.items()
            for own in (part._parameters, part._buffers)
            for name, tensor in own.items()
            if tensor is not None and prefix + name not in self._left_out
        }
        for prefix, part in self._parts.items():
            if prefix + "_extra_state" not in self._left_out and _has_extra_state(part):
                state[prefix + "_extra_state"] = part.get_extra_state()
        return state

    def _parameters(self) -> list[Tensor]:
        return [p for group in self._optimizer.param_groups for p in group["params"]]

    def _tensors(self) -> dict[tuple[int, str], Tensor]:
        return {
            (index, name): value
            for index, parameter in enumerate(self._parameters())
            for name, value in self._optimizer.state.get(parameter, {}).items()
            if isinstance(value, Tensor)
        }


def _has_extra_state(module: nn.Module) -> bool:
    return type(module).get_extra_state is not nn.Module.get_extra_state


def _copied(now: dict[Key, Tensor], kept: dict[Key, Tensor]) -> dict[Key, Tensor]:
    """Copies of tensors, in the memory of earlier copies where there are any."""
    same = now.keys() == kept.keys() and all(
        now[key].shape == kept[key].shape for key in now
    )
    if not same:
        return {key: tensor.clone() for key, tensor in now.items()}
    if now:
        torch._foreach_copy_(list(kept.values()), list(now.values()))
    return kept
