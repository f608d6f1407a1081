"""Everything that a training step may change, so that it can be put back.

Parameters and buffers (values and identity), gradients, `requires_grad` flags, training
modes, optimizers (state and hyperparameters), every global random-number generator, and
whatever else the user hands over with a `state_dict` or a `get_state`.
"""

import copy
import random
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gan_gradflow.audit.players import Players


def _copied(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else copy.deepcopy(value)


class _OptimizerState:
    """One optimizer, kept by hand: `load_state_dict` would cast and rebuild it."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self._state = {
            parameter: {key: _copied(value) for key, value in entries.items()}
            for parameter, entries in optimizer.state.items()
        }
        self._groups = [
            {key: _copied(value) for key, value in group.items() if key != "params"}
            for group in optimizer.param_groups
        ]

    def restore(self) -> None:
        self.optimizer.state.clear()
        for parameter, entries in self._state.items():
            self.optimizer.state[parameter] = {
                k: _copied(v) for k, v in entries.items()
            }
        for group, saved in zip(self.optimizer.param_groups, self._groups, strict=True):
            group.update({key: _copied(value) for key, value in saved.items()})


class _Randomness:
    """Python's, NumPy's and torch's global random-number generators."""

    def __init__(self) -> None:
        self._python = random.getstate()
        self._numpy = np.random.get_state()  # noqa: NPY002 (users draw from it)
        self._torch = torch.get_rng_state()
        cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
        self._cuda = torch.cuda.get_rng_state_all() if cuda else []

    def restore(self) -> None:
        random.setstate(self._python)
        np.random.set_state(self._numpy)  # noqa: NPY002
        torch.set_rng_state(self._torch)
        if self._cuda:
            torch.cuda.set_rng_state_all(self._cuda)


class _Stateful:
    """Any object with `state_dict` and `load_state_dict`, or `get_state`, `set_state`."""

    def __init__(self, thing: Any) -> None:
        pairs = (("state_dict", "load_state_dict"), ("get_state", "set_state"))
        known = [(g, s) for g, s in pairs if hasattr(thing, g) and hasattr(thing, s)]
        if not known:
            raise ValueError(
                f"cannot restore a {type(thing).__name__}: it has neither state_dict and "
                "load_state_dict nor get_state and set_state"
            )
        get, set_ = known[0]
        self._set = getattr(thing, set_)
        self._saved = copy.deepcopy(getattr(thing, get)())

    def restore(self) -> None:
        self._set(copy.deepcopy(self._saved))


class Snapshot:
    """The state of both players, of their optimizers and of all randomness.

    It costs one copy of the parameters, gradients and optimizer states.

    Args:
        players: the two networks.
        optimizers: those known so far; `add` takes one that shows up later.
        stateful: other objects to restore (weight averages, gradient scalers ...).
    """

    def __init__(
        self,
        players: Players,
        optimizers: Iterable[Optimizer] = (),
        stateful: Sequence[Any] = (),
    ) -> None:
        modules = [
            module
            for network in players.networks.values()
            for module in network.modules()
        ]
        parameters = {
            id(p): p
            for network in players.networks.values()
            for p in network.parameters()
        }.values()
        self._modes = [(module, module.training) for module in modules]
        self._parameters = [
            (p, _copied(p), p.requires_grad, p.grad, _copied(p.grad))
            for p in parameters
        ]
        self._buffers = [
            (module, key, buffer, _copied(buffer))
            for module in modules
            for key, buffer in module._buffers.items()
            if buffer is not None
        ]
        self._optimizers = [_OptimizerState(optimizer) for optimizer in optimizers]
        self._stateful = [_Stateful(thing) for thing in stateful]
        self._randomness = _Randomness()

    def add(self, optimizer: Optimizer) -> None:
        """Keep the state of one more optimizer, as it is now."""
        self._optimizers.append(_OptimizerState(optimizer))

    def restore(self) -> None:
        """Put everything back; it may be called any number of times."""
        for module, training in self._modes:
            module.training = training
        with torch.no_grad():
            for (
                parameter,
                value,
                requires_grad,
                gradient,
                gradient_value,
            ) in self._parameters:
                _write(parameter, value)
                parameter.requires_grad_(requires_grad)
                parameter.grad = gradient
                if gradient is not None:
                    _write(gradient, gradient_value)
            for module, key, buffer, value in self._buffers:
                module._buffers[key] = buffer
                _write(buffer, value)
        for optimizer in self._optimizers:
            optimizer.restore()
        for thing in self._stateful:
            thing.restore()
        self._randomness.restore()


def _write(target: Tensor, value: Tensor) -> None:
    if isinstance(target, nn.Parameter):
        target.data.copy_(value)  # a graph that is still alive may need this tensor
    else:
        target.copy_(value)
