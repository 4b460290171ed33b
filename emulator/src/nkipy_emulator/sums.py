"""Sums of an argument's rows or columns, which a handler of ours takes where it lies.

XLA would copy an argument first that is transposed or begins at an address of no use to
it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nkipy.hlo.dtypes import float32, float64
from nkipy.hlo.ir import HLOInstruction
from nkipy.hlo.rewrites.base import combination, literal_below
from nkipy_emulator.handler_calls import handler
from nkipy_emulator.memory import ZERO_COPY_BYTES
from nkipy_emulator.views import View, merged, view_of

__all__ = ["call_of_sum", "sum_of"]

Value = HLOInstruction
_DTYPES = (float32, float64)
#: Results that lie beside each other are computed together: so many at least.
_LEAST_ACROSS = 64


def sum_of(
    inst: Value,
    operands: tuple[Value, ...],
    source: Callable[[Value], Value | None] = lambda value: None,
    least: int = ZERO_COPY_BYTES,
) -> View | None:
    """What an instruction sums, results by terms, if the handler is to do it.

    It sums arguments, and views of them: what is computed is summed at once.

    Args:
        inst: any instruction.
        operands: its operands, or what stands for them in a copy.
        source: the memory that a value is a copy of, element by element, if any.
        least: how many bytes the handler is to sum.
    """
    if inst.dtype not in _DTYPES or inst.opcode != "reduce" or len(operands) != 2:
        return None
    if combination(inst) != "add":
        return None
    start = literal_below(operands[1])
    if start is None or start.any() or np.signbit(start):
        return None
    view = view_of(operands[0], source)
    if view.base.opcode != "parameter":
        return None
    summed = inst.attributes["dimensions"]
    terms = merged(view, summed)
    free = merged(view, [i for i in range(len(view.shape)) if i not in summed])
    if terms is None or free is None:
        return None
    (results, row), (count, column) = free, terms
    if results * count * inst.dtype.itemsize < max(least, 1):
        return None
    if column != 1 and (row != 1 or results < _LEAST_ACROSS):
        return None
    return view._replace(shape=(results, count), steps=(row, column))


def call_of_sum(summed: View, inst: Value) -> Value:
    """A call of the handler ``nkipy_sums`` that can take the place of `inst`.

    Args:
        summed: what it sums.
        inst: the instruction.
    """
    layout = (summed.offset, *summed.shape, *summed.steps)
    text = f"layout = array<i64: {', '.join(map(str, layout))}>"
    attributes = handler("nkipy_sums", text)
    return HLOInstruction(
        "custom-call", (summed.base,), inst.shape, inst.dtype, attributes
    )
