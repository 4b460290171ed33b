"""How engines compute: operands in float32, results rounded to a destination."""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy_nki.activations import INTO
from nkipy_nki.calls import Call
from nkipy_nki.dtypes import DTYPES
from nkipy_nki.operators import Operation
from nkipy_nki.program import View
from nkipy_nki.records import reads, writes
from nkipy_nki.regions import ON_CHIP

__all__ = [
    "COMPUTED",
    "RESULT",
    "TILE",
    "apply",
    "compute",
    "deliver",
    "flat",
    "number_like",
    "operands_of",
    "part_of",
    "scratch",
    "side_by_side",
    "values_like",
]

#: Names of the element types that engines compute with, the most used ones first.
COMPUTED: tuple[str, ...] = tuple(
    sorted(
        (n for n, d in DTYPES.items() if not d.is_packed and not d.is_scalar_only),
        key=lambda name: (name not in ("float32", "bfloat16"), name),
    )
)
#: A tile that is computed with, and one that a result is rounded to.
TILE = reads(ON_CHIP, *COMPUTED, dims=5)
RESULT = writes(ON_CHIP, *COMPUTED, dims=5)

#: Functions of NumPy's that round each element in one way only. Others may give other
#: bits for elements that do not lie side by side.
_EXACT: frozenset[Any] = frozenset(
    {
        *(np.add, np.subtract, np.multiply, np.divide, np.reciprocal, np.square),
        *(np.maximum, np.minimum, np.abs, np.negative, np.sqrt, np.sign),
        *(np.invert, np.bitwise_and, np.bitwise_or, np.bitwise_xor),
    }
)


def side_by_side(array: Any) -> Any:
    """The same values in C's order and aligned, for bits that depend on them alone."""
    flags = getattr(array, "flags", None)
    if flags is None or (flags.c_contiguous and flags.aligned):
        return array
    return array.copy()


def flat(values: np.ndarray) -> np.ndarray:
    """Of shape (partitions, elements of a partition)."""
    return values.reshape(values.shape[0], -1)


def values_like(call: Call, name: str, like: View) -> np.ndarray:
    """An operand's values in float32, in the shape of another."""
    values = call.read(name)
    return values if values.shape == like.shape else values.reshape(like.shape)


def number_like(call: Call, name: str, like: View) -> Any:
    """A number, or one for each partition, to be broadcast over a view's elements."""
    operand = call.operands[name]
    if not isinstance(operand, View):
        return call.number(name)
    numbers = call.read(name)
    if numbers.ndim == len(like.shape):
        return numbers
    return numbers.reshape(-1, *(1,) * (len(like.shape) - 1))


def operands_of(operation: Operation, data: Any, other: Any, reverse: bool) -> Any:
    """What an operation takes: its one operand, or two in their order."""
    if operation.arity == 1:
        return (data,)
    return (other, data) if reverse else (data, other)


def compute(
    operation: Operation, *arrays: Any, out: np.ndarray | None = None
) -> np.ndarray:
    """What an operation gives, with bits that depend on values and shapes alone.

    Args:
        operation: what to compute.
        arrays: float32, to be broadcast. They may overlap with `out`.
        out: of float32, where the result may be written.

    Returns:
        The result: `out` only if it was written there.
    """
    function = operation.compute
    if function not in _EXACT:
        arrays = tuple(side_by_side(array) for array in arrays)
        if out is not None and not out.flags.carray:
            out = None
    if out is None or not (isinstance(function, np.ufunc) or function in INTO):
        return np.asarray(function(*arrays))
    if function in INTO and any(np.may_share_memory(a, out) for a in arrays):
        return np.asarray(function(*arrays))
    return function(*arrays, out=out)


def deliver(
    call: Call, values: np.ndarray, out: np.ndarray | None, name: str = "dst"
) -> None:
    """Round what was computed to an operand, unless it was computed in its place."""
    if values is out:
        call.mark(name)
    else:
        call.write(name, values)


def apply(
    call: Call, operation: Operation, *arrays: Any, name: str = "dst"
) -> np.ndarray:
    """Compute an operation and round what it gives to an operand.

    Args:
        call: the instruction.
        operation: what to compute.
        arrays: float32, to be broadcast to the operand's shape.
        name: the operand's.

    Returns:
        What was computed, before it was rounded. It may lie in the operand.
    """
    out = call.destination(name)
    values = compute(operation, *arrays, out=out)
    deliver(call, values, out, name)
    return values


def scratch(call: Call, *later: str) -> np.ndarray | None:
    """The destination's elements for what is between two steps.

    Args:
        call: the instruction.
        later: operands that later steps read.

    Returns:
        None if they are not float32, or an operand that is read later is among them.
    """
    made = call.operands["dst"].allocation
    for name in later:
        operand = call.operands[name]
        if isinstance(operand, View) and operand.allocation is made:
            return None
    return call.destination("dst")


def part_of(
    view: View, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> View:
    """Other elements of a view's tensor, `offset` from the view's first."""
    return View(view.allocation, view.dtype, view.offset + offset, shape, strides)
