"""Numbers and conversions in a program, by torch's rules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder, Value
from spike_torch.lowering.errors import Unsupported


def constant(b: HLOBuilder, value: bool | int | float, dtype: np.dtype) -> Value:
    """A Python number in a dtype, as torch takes it.

    Raises:
        Unsupported: it is not to be had there.
    """
    if dtype == dt.bool_:
        return b.scalar(bool(value), dtype)
    if dt.is_integer(dtype):
        return b.scalar(_wrapped(value, dtype), dtype)
    try:
        return b.scalar(float(value), dtype)
    except OverflowError as error:
        raise Unsupported(f"has the number {value}: {error}") from None


def _wrapped(value: bool | int | float, dtype: np.dtype) -> int:
    """The number as an integer of the dtype, whose higher bits are lost, as in C."""
    if isinstance(value, float) and not math.isfinite(value):
        raise Unsupported(f"has the number {value} where an integer is computed")
    info = np.iinfo(dtype)
    span = 1 << info.bits
    return (int(value) - int(info.min)) % span + int(info.min)


def convert(b: HLOBuilder, x: Value, dtype: np.dtype) -> Value:
    """To another dtype. Floats lose what is behind the point; any but 0 is true."""
    if dtype == dt.bool_ or not dt.is_integer(dtype) or x.dtype == dt.bool_:
        return b.convert(x, dtype)
    if dt.is_float(x.dtype) and dtype.itemsize < 4:
        # By way of 32 bits, whose higher ones are lost, as the CPU does it: HLO would
        # take the nearest.
        return b.convert(b.convert(x, dt.int32), dtype)
    return b.convert(x, dtype)


def expression(b: HLOBuilder, size: Any, symbol: Callable[[Any], Value]) -> Value:
    """An expression of torch's shape environment: s32, or f32 where it is no integer.

    Raises:
        Unsupported: a function in it has no lowering.
    """
    if size.is_Symbol:
        return symbol(size)
    if size.is_Integer:
        return b.scalar(int(size), dt.int32)
    if size.is_Number:
        return b.scalar(float(size), dt.float32)
    make = _FUNCTIONS.get(type(size).__name__)
    if make is None:
        raise Unsupported(f"computes {size} of sizes, for which there is no lowering")
    args = [expression(b, arg, symbol) for arg in size.args]
    if any(arg.dtype == dt.float32 for arg in args):
        args = [b.convert(arg, dt.float32) for arg in args]
    return make(b, *args)


def _folded(opcode: str) -> Callable[..., Value]:
    def make(b: HLOBuilder, first: Value, *others: Value) -> Value:
        for other in others:
            first = b.binary(opcode, first, other)
        return first

    return make


def _true_division(b: HLOBuilder, x: Value, y: Value) -> Value:
    return b.divide(b.convert(x, dt.float32), b.convert(y, dt.float32))


def _to_float(b: HLOBuilder, x: Value) -> Value:
    return b.convert(x, dt.float32)


#: By the name of a function of sympy's, or of torch.utils._sympy.functions.
_FUNCTIONS: dict[str, Callable[..., Value]] = {
    "Add": _folded("add"),
    "Mul": _folded("multiply"),
    "Max": _folded("maximum"),
    "Min": _folded("minimum"),
    # Sizes are not negative, of which alone the rounding differs.
    "FloorDiv": _folded("divide"),
    "CleanDiv": _folded("divide"),
    "Mod": _folded("remainder"),
    "PythonMod": _folded("remainder"),
    "ToFloat": _to_float,
    "FloatTrueDiv": _true_division,
    "IntTrueDiv": _true_division,
}
