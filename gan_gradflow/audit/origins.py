"""Which rows of a tensor the generator emitted, and when.

Every row of a traced tensor has a birth: the number of generator updates before it was
emitted, or -1 if the generator did not emit it. The trace follows a tensor through
`detach`, concatenation, slicing, in-place assignment and every operation that keeps the
batch dimension; an operation on several traced tensors keeps the latest birth. What
else is computed from fakes (statistics, draws from them) is only known to be derived.
"""

from collections.abc import Iterable
from typing import Any, no_type_check

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from gan_gradflow.audit.nesting import tensors_in

NOT_FAKE = -1

_CONCATENATIONS = (torch.cat, torch.concat, torch.concatenate)
_INDEXING = (Tensor.__getitem__, torch.index_select, Tensor.index_select)


@no_type_check  # called for every torch function of the loop under audit
class Origins:
    """Births of the rows of every traced tensor; forgets tensors that are gone."""

    def __init__(self) -> None:
        self._births: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._derived: WeakTensorKeyDictionary = WeakTensorKeyDictionary()

    def mark(self, value: Any, birth: int) -> None:
        """The generator emitted these tensors after `birth` updates."""
        for tensor in tensors_in(value):
            if tensor.dim():
                self._births[tensor] = torch.full((len(tensor),), birth)

    def births(self, tensor: Tensor) -> Tensor | None:
        """One birth for each row, or None for a tensor without a trace."""
        births = self._births.get(tensor) if tensor.dim() else None
        return births if births is not None and len(births) == len(tensor) else None

    def derived(self, tensor: Tensor) -> bool:
        """Whether this was computed from anything that the generator emitted."""
        return tensor in self._births or tensor in self._derived

    def latest(self, tensors: Iterable[Tensor], rows: int) -> Tensor:
        """The latest birth of each of `rows` rows over several tensors."""
        births = torch.full((rows,), NOT_FAKE)
        for tensor in tensors:
            known = self.births(tensor)
            if known is not None and len(known) == rows:
                births = torch.maximum(births, known)
        return births

    def follow(self, func: Any, args: tuple, kwargs: dict, output: Any) -> None:
        """Trace the output of one torch function called with these arguments."""
        outputs = list(tensors_in(output))
        if not outputs and func is not Tensor.__setitem__:
            return
        inputs = list(tensors_in((args, kwargs)))
        if not any(map(self.derived, inputs)) or _takes_only_the_shape(func):
            return
        for tensor in outputs:
            self._derived[tensor] = True
        try:
            self._follow_rows(func, args, kwargs, inputs, outputs)
        except (IndexError, TypeError, ValueError):
            return  # an unusual call loses its trace; the user's step goes on

    def _follow_rows(
        self,
        func: Any,
        args: tuple,
        kwargs: dict,
        inputs: list[Tensor],
        outputs: list[Tensor],
    ) -> None:
        rows = [len(tensor) for tensor in outputs if tensor.dim()]
        if func is Tensor.__setitem__:
            self._assign(*args)
        elif func in _CONCATENATIONS:
            self._concatenate(args, kwargs, outputs[0])
        elif func in _INDEXING:
            self._index(args, kwargs, outputs[0])
        elif len(outputs) == len(rows) > 1 and sum(rows) == len(inputs[0]):
            self._split(inputs, outputs)
        else:
            for tensor in outputs:
                self._keep(tensor, self._over(inputs, tensor))

    def _over(self, inputs: list[Tensor], output: Tensor) -> Tensor | None:
        return self.latest(inputs, len(output)) if output.dim() else None

    def _keep(self, tensor: Tensor, births: Tensor | None) -> None:
        if births is not None and tensor.dim() and bool((births != NOT_FAKE).any()):
            self._births[tensor] = births

    def _concatenate(self, args: tuple, kwargs: dict, output: Tensor) -> None:
        parts = list(tensors_in(args[0] if args else kwargs["tensors"]))
        dim = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("axis", 0))
        if dim % output.dim():
            self._keep(output, self._over(parts, output))
        else:
            births = [self.latest([part], len(part)) for part in parts]
            self._keep(output, torch.cat(births))

    def _split(self, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        births = self.latest(inputs, len(inputs[0]))
        for part in births.split([len(tensor) for tensor in outputs]):
            self._keep(outputs.pop(0), part)

    def _index(self, args: tuple, kwargs: dict, output: Tensor) -> None:
        births = self.births(args[0])
        if births is None or not output.dim():
            return
        if len(args) == 2 and not kwargs:  # tensor[index]
            index = args[1][0] if isinstance(args[1], tuple) else args[1]
        else:  # index_select
            dim, index = (*args[1:], *kwargs.values())[:2]
            index = slice(None) if dim else index
        rows = _chosen(births, index)
        if rows is not None and rows.dim() == 1 and len(rows) == len(output):
            self._keep(output, rows)

    def _assign(self, target: Tensor, index: Any, value: Any) -> None:
        births = self.latest([target], len(target)).clone()
        index = index[0] if isinstance(index, tuple) else index
        chosen = _chosen(births, index)
        if chosen is None:
            return
        source = self.births(value) if isinstance(value, Tensor) else None
        if source is None or source.shape != chosen.shape:
            source = torch.full_like(chosen, NOT_FAKE)
        births[_on_cpu(index)] = source
        self._births[target] = births


def _takes_only_the_shape(func: Any) -> bool:
    name = getattr(func, "__name__", "")
    return name.endswith("_like") or name.startswith("new_")


def _chosen(births: Tensor, index: Any) -> Tensor | None:
    try:
        return births[_on_cpu(index)]
    except IndexError:  # a mask over more than the batch dimension
        return None


def _on_cpu(index: Any) -> Any:
    return index.detach().cpu() if isinstance(index, Tensor) else index
