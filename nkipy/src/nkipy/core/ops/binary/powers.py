"""Powers: exact for integers, and cheap where the exponent is a known small number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext
from nkipy.core.ops._dtype_sets import ALL, REAL
from nkipy.core.ops._lower import uniform
from nkipy.core.ops._registry import supports
from nkipy.core.ops._samples import ErrorSample, Sample, make, special
from nkipy.core.ops._ufunc import UFuncOp, in_float32
from nkipy.core.ops._ufunc_samples import large_uint32
from nkipy.core.promotion import Loop
from nkipy.core.tensor import NKIPyTensorRef
from nkipy.hlo.builder import HLOBuilder, Value
from nkipy.hlo.ir import HLOInstruction
from nkipy.hlo.rewrites.powers import repeated_squaring

_NEGATIVE = "Integers to negative integer powers are not allowed."


def _power_of_floats(b: HLOBuilder, x: Value, y: Value) -> Value:
    # NumPy takes the root for a scalar exponent: (-inf)**0.5 is NaN.
    if uniform(y) == 0.5 and x.dtype != dt.float16:
        return b.unary("sqrt", x)
    return _float_power(b, x, y)


def _float_power(b: HLOBuilder, x: Value, y: Value) -> Value:
    exponent = uniform(y)
    if exponent == 0:
        return b.full_like(x, 1)  # of NaN too
    if exponent == 2:
        return b.multiply(x, x)
    if exponent == 1:
        return x
    if exponent == -1:
        return b.divide(b.full_like(x, 1), x)
    return b.binary("power", x, y)


def _static_int_power(b: HLOBuilder, x: Value, exponent: int) -> Value:
    result: Value | None = None
    while exponent:
        if exponent & 1:
            result = x if result is None else b.multiply(result, x)
        exponent >>= 1
        if exponent:
            x = b.multiply(x, x)
    return b.full_like(x, 1) if result is None else result


def _int_power(b: HLOBuilder, x: Value, y: Value) -> Value:
    """Modulo 2**n, as in NumPy."""
    exponent = uniform(y)
    if exponent is not None:
        return _static_int_power(b, x, int(exponent))
    return repeated_squaring(b, x, y)


def _power(b: HLOBuilder, x: Value, y: Value) -> Value:
    return (_power_of_floats if dt.is_float(x.dtype) else _int_power)(b, x, y)


class _PowerOp(UFuncOp):
    """Refuses negative exponents of integers, where they are known."""

    def apply(
        self, ctx: HLOTraceContext, operands: Sequence[Any], loop: Loop
    ) -> tuple[HLOInstruction, ...]:
        y = operands[1]
        if dt.is_integer(loop.inputs[1]) and not isinstance(y, NKIPyTensorRef):
            if not isinstance(y, HLOInstruction) and np.any(np.asarray(y) < 0):
                raise ValueError(_NEGATIVE)
        return super().apply(ctx, operands, loop)


def _samples(dtype: np.dtype) -> Iterator[Sample]:
    base = make((4, 3), dtype)
    integral = not dt.is_float(dtype)
    exponent = make((4, 3), dtype, low=0 if integral else -3, high=5, seed=1)
    yield Sample((base, exponent))
    yield Sample((base[0], exponent[:, :1]), label="broadcast")
    yield Sample((base[:0], exponent[:0]), label="empty")
    yield Sample((base[0, 0], exponent[1, 1, None]), label="0-d")
    for scalar in (0, 1, 2, 3, 7) if integral else (0, 1, 2, -1, 3, 0.5, -0.5, 2.5):
        yield Sample((special(dtype), scalar), label=f"to {scalar}")
    yield Sample((2 if integral else 1.5, exponent), label="left scalar")
    x = special(dtype)
    y = x if not integral or dtype == dt.bool_ else x[x >= 0]
    yield Sample((x[:, None], y[None, :]), label="special")


def _small_samples(dtype: np.dtype) -> Iterator[Sample]:
    """Large integers are rounded to float32, and lose whether they are odd."""
    for sample in _samples(dtype):
        if dt.is_float(dtype) or sample.label != "special":
            yield sample


def _exact_samples(dtype: np.dtype) -> Iterator[Sample]:
    yield from _samples(dtype)
    if dtype == dt.int32:
        yield from large_uint32(least=0)
        x = np.array([-1, -3, -(2**31)], np.int32)
        yield Sample((x, np.array([[2**31], [2**32 - 1]], np.uint32)), label="wrap")


_ERRORS = (
    ErrorSample((np.ones(2, np.int32), -1), error=ValueError, match="negative integer"),
    ErrorSample(
        (np.ones(2, np.int32), [1, -2]), error=ValueError, match="negative integer"
    ),
)

power = _PowerOp(
    np.power,
    in_float32(_power, dt.FP8),
    dtypes=ALL,
    samples=_exact_samples,
    keep_uint32=True,
    errors=_ERRORS,
    note="a negative traced exponent of integers cannot raise; its result is arbitrary",
)
float_power = UFuncOp(
    np.float_power,
    _float_power,
    dtypes=supports(REAL, dt.bool_),
    samples=_small_samples,
)
