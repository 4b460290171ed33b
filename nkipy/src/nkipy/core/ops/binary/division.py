"""Quotients and remainders, rounded as Python and C round them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._dtype_sets import NUMERIC
from nkipy.core.ops._lower import (
    fill,
    is_negative,
    is_zero,
    magnitude,
    shift_right,
    uniform,
)
from nkipy.core.ops._registry import supports
from nkipy.core.ops._samples import Sample, binary_sampler
from nkipy.core.ops._ufunc import UFuncOp, in_float32
from nkipy.core.ops._ufunc_samples import large_uint32
from nkipy.core.ops.binary.arithmetic import MISTAKES
from nkipy.hlo import compositions
from nkipy.hlo.builder import HLOBuilder, Value

_LOW_PRECISION = (dt.float16, dt.bfloat16, *dt.FP8)


def _samples(dtype: np.dtype) -> Iterator[Sample]:
    yield from binary_sampler()(dtype)
    x = np.array([-9, -8, -7, -1, 0, 1, 7, 8, 9]) if dtype not in dt.UNSIGNED else None
    x = np.arange(9) if x is None else x
    for divisor in (3, 4, 1) if dtype in dt.UNSIGNED else (3, -3, 4, 1, -1):
        yield Sample((x.astype(dtype), divisor), label=f"by {divisor}")
    if dt.is_float(dtype):
        yield Sample((x.astype(dtype), np.array(-0.7).astype(dtype)), label="by -0.7")
        huge = np.array([1e4, -1e4, 3.3e3, 5e-3]).astype(dtype)
        yield Sample((huge[:, None], np.array([0.1, -0.3]).astype(dtype)), label="huge")
    if dtype == dt.int32:
        yield from large_uint32()


def _guard_zero(b: HLOBuilder, y: Value, result: Value) -> Value:
    """Integer division by zero is 0 in NumPy; XLA's is not."""
    divisor = uniform(y)
    if divisor is not None and divisor != 0:
        return result
    return fill(b, is_zero(b, y), 0, result)


def _signs_differ(b: HLOBuilder, rest: Value, y: Value) -> Value:
    """Whether a non-zero remainder has the sign that the divisor has not."""
    divisor, zero = uniform(y), b.full_like(rest, 0)
    if divisor is not None and divisor != 0:
        return b.compare(rest, zero, "LT" if divisor > 0 else "GT")
    nonzero = b.compare(rest, zero, "NE")
    return b.and_(nonzero, b.xor(is_negative(b, rest), is_negative(b, y)))


def _fmod(b: HLOBuilder, x: Value, y: Value) -> Value:
    if dt.is_float(x.dtype):
        return b.binary("remainder", x, y)
    return _guard_zero(b, y, _truncated(b, x, y)[1])


def _truncated(b: HLOBuilder, x: Value, y: Value) -> tuple[Value, Value]:
    """Quotient toward zero and remainder of integers; those of int32 with uint32 in
    int32, modulo 2**32."""
    if x.dtype == y.dtype:
        return b.divide(x, y), b.binary("remainder", x, y)
    dividend, divisor = magnitude(b, x), magnitude(b, y)
    quotient = b.convert(b.divide(dividend, divisor), dt.int32)
    rest = b.convert(b.binary("remainder", dividend, divisor), dt.int32)
    negative = is_negative(b, x)
    opposed = b.xor(negative, is_negative(b, y))
    return (
        b.select(opposed, b.negate(quotient), quotient),
        b.select(negative, b.negate(rest), rest),
    )


def _rounds_down(b: HLOBuilder, x: Value, y: Value, rest: Value) -> Value:
    """Whether the quotient of integers is below that of :func:`_truncated`."""
    if x.dtype == y.dtype:
        return _signs_differ(b, rest, y)
    # A remainder modulo 2**32 does not have the sign that the dividend has.
    opposed = b.xor(is_negative(b, x), is_negative(b, y))
    return b.and_(opposed, b.not_(is_zero(b, rest)))


def _divmod_ints(b: HLOBuilder, x: Value, y: Value) -> tuple[Value, Value]:
    quotient, rest = _truncated(b, x, y)
    if quotient.dtype in dt.SIGNED:
        dtype = _dtype(quotient)
        adjust = _rounds_down(b, x, y, rest)
        quotient = b.subtract(quotient, b.convert(adjust, dtype))
        rest = b.select(adjust, b.add(rest, b.convert(y, dtype)), rest)
    return _guard_zero(b, y, quotient), _guard_zero(b, y, rest)


def _rest_of_floats(b: HLOBuilder, rest: Value, y: Value, adjust: Value) -> Value:
    rest = b.select(adjust, b.add(rest, y), rest)
    zero, minus_zero = b.full_like(rest, 0.0), b.full_like(rest, -0.0)
    signed = b.select(is_negative(b, y), minus_zero, zero)
    return b.select(b.compare(rest, zero, "EQ"), signed, rest)


def _divmod_floats(b: HLOBuilder, x: Value, y: Value) -> tuple[Value, Value]:
    # The remainder is exact, so the quotient is within rounding of an integer: it need
    # not be cut off, which would be wrong where it is just below one.
    truncated, one = b.binary("remainder", x, y), b.full_like(x, 1)
    adjust = _signs_differ(b, truncated, y)
    ratio = b.divide(b.subtract(x, truncated), y)
    ratio = b.select(adjust, b.subtract(ratio, one), ratio)
    quotient = b.unary("floor", ratio)
    above = b.compare(b.subtract(ratio, quotient), b.full_like(x, 0.5), "GT")
    quotient = b.select(above, b.add(quotient, one), quotient)
    exact = b.divide(x, y)
    signed_zero = b.multiply(exact, b.full_like(x, 0))
    quotient = b.select(is_zero(b, ratio), signed_zero, quotient)
    if not uniform(y):
        quotient = b.select(is_zero(b, y), exact, quotient)
    return quotient, _rest_of_floats(b, truncated, y, adjust)


def _divmod(b: HLOBuilder, x: Value, y: Value) -> tuple[Value, Value]:
    return (_divmod_floats if dt.is_float(x.dtype) else _divmod_ints)(b, x, y)


def _floor_divide(b: HLOBuilder, x: Value, y: Value) -> Value:
    divisor = uniform(y)
    if divisor is not None and x.dtype in dt.INTEGERS:
        shift = int(divisor).bit_length() - 1
        if divisor > 0 and int(divisor) == 1 << shift:  # rounds down, as a shift does
            return shift_right(b, x, b.full_like(x, shift))
    return _divmod(b, x, y)[0]


def _remainder(b: HLOBuilder, x: Value, y: Value) -> Value:
    if dt.is_float(x.dtype):
        rest = b.binary("remainder", x, y)
        return _rest_of_floats(b, rest, y, _signs_differ(b, rest, y))
    return _divmod(b, x, y)[1]


_RECORD: dict[str, Any] = {
    "dtypes": supports(NUMERIC, dt.bool_),
    "samples": _samples,
    "keep_uint32": True,
}
floor_divide = UFuncOp(
    np.floor_divide,
    in_float32(_floor_divide, _LOW_PRECISION),
    errors=MISTAKES,
    **_RECORD,
)
remainder = UFuncOp(
    np.remainder,
    in_float32(_remainder, _LOW_PRECISION),
    aliases=["mod"],
    errors=MISTAKES,
    **_RECORD,
)
fmod = UFuncOp(np.fmod, in_float32(_fmod, dt.FP8), **_RECORD)
divmod = UFuncOp(np.divmod, in_float32(_divmod, _LOW_PRECISION), **_RECORD)


def _dtype(x: Value) -> np.dtype:
    assert x.dtype is not None
    return x.dtype


def _with_divisors(compose: Callable[..., Value]) -> Callable[..., Value]:
    def lower(b: HLOBuilder, x: Value, y: Value) -> Value:
        divisor = uniform(y) if y.dtype in dt.UNSIGNED else None
        return compose(b, x, y, divisor is not None and divisor != 0)

    return lower


def _divisor_samples(dtype: np.dtype) -> Iterator[Sample]:
    yield from binary_sampler(low=-100, high=100)(dtype)
    if dtype == dt.int32:
        yield from large_uint32()


_DIVISORS: dict[str, Any] = {
    "dtypes": dt.INTEGERS,
    "samples": _divisor_samples,
    "keep_uint32": True,
    "note": "Euclid's algorithm unrolled: up to 240 instructions for 32 bits",
}
gcd = UFuncOp(np.gcd, _with_divisors(compositions.gcd), **_DIVISORS)
lcm = UFuncOp(np.lcm, _with_divisors(compositions.lcm), **_DIVISORS)
