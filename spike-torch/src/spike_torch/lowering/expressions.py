"""Numbers that are computed of sizes, in a program.

They are expressions of torch's shape environment: sympy's, and functions of torch's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from math import prod
from typing import Any

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder, Value
from spike_torch.lowering.errors import NeedsExactSize, Unsupported

#: What integers of a dtype are smaller than; a program is given s32.
LIMITS = {dt.int32: 1 << 31, dt.int64: 1 << 63}


def expression(
    b: HLOBuilder,
    size: Any,
    symbol: Callable[[Any], Value],
    dtype: np.dtype = dt.int32,
) -> Value:
    """The value of an expression: of `dtype`, or f32 where it is no integer.

    Raises:
        Unsupported: a function in it has no lowering.
    """
    if size.is_Symbol:
        return b.convert(symbol(size), dtype)
    if size.is_Integer:
        return b.scalar(int(size), dtype)
    if size.is_Number:
        return b.scalar(float(size), dt.float32)
    name = type(size).__name__
    if name == "Pow" and _is_natural(size.args[1]):
        base = expression(b, size.args[0], symbol, dtype)
        return reduce(b.multiply, [base] * int(size.args[1]))
    if name in _ROUNDED and type(size.args[0]).__name__ == "IntTrueDiv":
        parts = size.args[0].args
        above, below = (expression(b, arg, symbol, dtype) for arg in parts)
        return _ROUNDED[name](b, above, below)
    make = _FUNCTIONS.get(name)
    if make is None:
        raise Unsupported(f"computes {size} of sizes, for which there is no lowering")
    args = [expression(b, arg, symbol, dtype) for arg in size.args]
    if any(arg.dtype == dt.float32 for arg in args):
        args = [b.convert(arg, dt.float32) for arg in args]
    if all(arg.is_nonnegative for arg in size.args):
        make = _OF_NONNEGATIVE.get(name, make)
    return make(b, *args)


def _is_natural(size: Any) -> bool:
    return bool(size.is_Integer and size > 0)


# -- what integers hold ----------------------------------------------------------------
def fits(size: Any, buckets: Mapping[Any, int], dtype: np.dtype) -> bool:
    """Whether integers of a dtype hold all that an expression computes.

    Args:
        size: the expression.
        buckets: of each symbol that is a size, the largest that it may be. Others are
            numbers, which may be any of s32.
        dtype: of the integers.
    """
    return bool(size.is_Symbol or _greatest(size, buckets) < LIMITS[dtype])


def require_fitting(size: Any, buckets: Mapping[Any, int], dtype: np.dtype) -> None:
    """Refuse an expression of which integers may not hold a value, as of :func:`fits`.

    Raises:
        NeedsExactSize: there may be such. A number of exact sizes is torch's own.
    """
    if not fits(size, buckets, dtype):
        bits = 8 * dtype.itemsize
        reason = f"computes {size} of sizes, which may be more than {bits} bits hold"
        raise NeedsExactSize(reason, size)


def _greatest(size: Any, buckets: Mapping[Any, int]) -> float:
    """What no absolute value in an expression exceeds; 0 of what is no integer."""
    if size.is_Symbol:
        return buckets.get(size, LIMITS[dt.int32] if size.is_integer else 0)
    if size.is_Integer:
        return abs(int(size))
    name = type(size).__name__
    if name == "Pow" and _is_natural(size.args[1]):
        return _greatest(size.args[0], buckets) ** int(size.args[1])
    parts = [_greatest(arg, buckets) for arg in size.args]
    if name == "Add":
        return sum(parts)
    return prod(parts) if name == "Mul" else max(parts, default=0)


# -- functions -------------------------------------------------------------------------
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


def _absolute(b: HLOBuilder, x: Value) -> Value:
    return b.unary("abs", x)


def _floor_division(b: HLOBuilder, x: Value, y: Value) -> Value:
    """As Python's //: HLO cuts what is behind the point."""
    down = b.convert(_leaves_another_sign(b, x, y), x.dtype)
    return b.subtract(b.divide(x, y), down)


def _ceiling_division(b: HLOBuilder, x: Value, y: Value) -> Value:
    return b.negate(_floor_division(b, b.negate(x), y))


def _modulo(b: HLOBuilder, x: Value, y: Value) -> Value:
    """As Python's %: what HLO leaves has the sign of what is divided."""
    rest = b.binary("remainder", x, y)
    return b.select(_leaves_another_sign(b, x, y), b.add(rest, y), rest)


def _leaves_another_sign(b: HLOBuilder, x: Value, y: Value) -> Value:
    """Whether a division leaves something, and not of the divisor's sign."""
    zero = b.scalar(0, x.dtype)
    rest = b.binary("remainder", x, y)
    below, divisor_below = (b.compare(each, zero, "LT") for each in (rest, y))
    return b.and_(b.compare(rest, zero, "NE"), b.compare(below, divisor_below, "NE"))


#: By the name of a function of sympy's, or of torch.utils._sympy.functions.
_FUNCTIONS: dict[str, Callable[..., Value]] = {
    "Add": _folded("add"),
    "Mul": _folded("multiply"),
    "Max": _folded("maximum"),
    "Min": _folded("minimum"),
    "Abs": _absolute,
    "FloorDiv": _floor_division,
    "CleanDiv": _folded("divide"),
    "Mod": _modulo,
    "PythonMod": _modulo,
    "ToFloat": _to_float,
    "FloatTrueDiv": _true_division,
    "IntTrueDiv": _true_division,
}
#: What suffices where no number is negative.
_OF_NONNEGATIVE = {
    "FloorDiv": _folded("divide"),
    "Mod": _folded("remainder"),
    "PythonMod": _folded("remainder"),
}
#: Of the quotient of two integers.
_ROUNDED: dict[str, Callable[..., Value]] = {
    "FloorToInt": _floor_division,
    "CeilToInt": _ceiling_division,
    "TruncToInt": _folded("divide"),
}
