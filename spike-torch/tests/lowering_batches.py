"""Runs lowerings of many calls as one program, beside the CPU's operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from nkipy.execution import simulate
from nkipy.hlo.ir import HLOModule
from spike_torch.lowered.calls import lower_call, name_of
from spike_torch.lowering import Array, Graph, Unsupported
from spike_torch.lowering.dims import static
from spike_torch.lowering.dtypes import hlo_dtype
from spike_torch.tensors import array_of

from .lowering_cases import from_host
from .op_samples import tensors


class Batch:
    """Calls of operators, which are lowered to one program.

    Attributes:
        module: the program.
        refused: why calls have no lowering, by operator.
    """

    def __init__(self) -> None:
        self._g = Graph("batch")
        self._inputs: dict[int, tuple[torch.Tensor, Array]] = {}
        self._wanted: list[tuple[str, torch.Tensor]] = []
        self._made: list[Array] = []
        self.refused: dict[str, str] = {}

    @property
    def module(self) -> HLOModule:
        self._g.module.set_results([array.value for array in self._made])
        return self._g.module

    def add(self, op: Any, *args: Any, **kwargs: Any) -> bool:
        """Add a call, unless the CPU refuses it. Whether it has been lowered."""
        try:
            returned = op(*args, **kwargs)
        except (RuntimeError, NotImplementedError, TypeError, IndexError):
            return False
        leaves, tree = pytree.tree_flatten((args, kwargs))
        leaves = [self._array(x) if isinstance(x, torch.Tensor) else x for x in leaves]
        given, named = pytree.tree_unflatten(leaves, tree)
        try:
            made = lower_call(self._g, op, given, named, returned)
        except Unsupported as error:
            self.refused[name_of(op)] = str(error)
            return False
        text = f"{name_of(op)}{_short(args)}{_short(kwargs) if kwargs else ''}"
        arrays = [a for a in pytree.tree_leaves(made) if isinstance(a, Array)]
        for array, tensor in zip(arrays, tensors(returned), strict=True):
            self._made.append(array)
            self._wanted.append((text, tensor))
        return True

    def _array(self, tensor: torch.Tensor) -> Array:
        found = self._inputs.get(id(tensor))
        if found is None:
            value = self._g.module.add_parameter(
                tuple(tensor.shape), hlo_dtype(tensor.dtype), f"i{len(self._inputs)}"
            )
            found = tensor, Array(value, tuple(map(static, tensor.shape)))
            self._inputs[id(tensor)] = found
        return found[1]

    def run(self) -> list[tuple[str, torch.Tensor, torch.Tensor]]:
        """Of each result: the call, what was computed, what the CPU computes."""
        module = self.module
        given = {
            f"i{i}": array_of(tensor)
            for i, (tensor, _) in enumerate(self._inputs.values())
        }
        made = simulate(module).bind({})(given)
        computed = [np.asarray(made[spec.name]) for spec in module.outputs]
        return [
            (text, from_host(array, wanted.dtype), wanted)
            for array, (text, wanted) in zip(computed, self._wanted, strict=True)
        ]


def _short(value: Any) -> str:
    return str(
        pytree.tree_map(
            lambda x: str(x.dtype)[6:] if isinstance(x, torch.Tensor) else x, value
        )
    )


def distances(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """How far apart results are: floats in units in the last place, NaN as any NaN.

    Zeros of two signs are one apart, so that they are told from each other.
    """
    if not wanted.dtype.is_floating_point:
        return (made.to(torch.int64) - wanted.to(torch.int64)).abs()
    bits = {4: torch.int32, 2: torch.int16}[wanted.itemsize]
    apart = (_order(made, bits) - _order(wanted, bits)).abs()
    both = made.isnan() & wanted.isnan()
    either = made.isnan() != wanted.isnan()
    return torch.where(both, 0, torch.where(either, 2**40, apart))


def _order(x: torch.Tensor, bits: torch.dtype) -> torch.Tensor:
    """Integers in the order of floats, of which one follows the other."""
    whole = x.view(bits).to(torch.int64)
    least = torch.iinfo(bits).min
    return torch.where(whole < 0, least - whole - 1, whole)


def worst(made: torch.Tensor, wanted: torch.Tensor) -> int:
    """The largest of the distances; 0 of no elements."""
    return int(distances(made, wanted).max()) if wanted.numel() else 0


Results = Sequence[tuple[str, torch.Tensor, torch.Tensor]]
