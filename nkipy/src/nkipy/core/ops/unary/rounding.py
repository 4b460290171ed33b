"""Rounding to integers or decimals, and clipping to a range."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import get_hlo_context
from nkipy.core.ops._cases import X
from nkipy.core.ops._dtype_sets import ALL, NUMERIC, REAL
from nkipy.core.ops._lower import is_negative
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample, Sample, make, special
from nkipy.core.ops._ufunc import UFuncOp, as_value, broadcast_shape
from nkipy.core.promotion import as_arrays, common_dtype, is_ours, kind_of
from nkipy.core.tensor import NKIPyTensorRef, as_operand, as_tensor, store_out
from nkipy.hlo.builder import HLOBuilder, Value


def _rounding(opcode: str):  # type: ignore[no-untyped-def]
    """`opcode` on floats; integers are round already."""

    def lower(b: HLOBuilder, x: Value) -> Value:
        return b.unary(opcode, x) if dt.is_float(x.dtype) else x

    return lower


def _trunc(b: HLOBuilder, x: Value) -> Value:
    if not dt.is_float(x.dtype):
        return x
    return b.select(is_negative(b, x), b.unary("ceil", x), b.unary("floor", x))


ceil = UFuncOp(np.ceil, _rounding("ceil"), dtypes=ALL)
floor = UFuncOp(np.floor, _rounding("floor"), dtypes=ALL)
trunc = UFuncOp(np.trunc, _trunc, dtypes=ALL)
rint = UFuncOp(np.rint, _rounding("round-nearest-even"), dtypes=REAL)


def _plain_samples(dtype: np.dtype) -> Iterator[Sample]:
    yield Sample((special(dtype),), label="special")
    yield Sample((make((2, 0), dtype),), label="empty")
    yield Sample((make((2, 3), dtype),), {"out": make((2, 3), dtype)}, "out")


fix = Op("fix", numpy=np.fix, dtypes=NUMERIC, samples=_plain_samples)


@fix.composed_impl
def _fix(x: Any, out: Any = None) -> Any:
    """`x` rounded toward zero."""
    return np.trunc(x, out=out)


def _round_samples(dtype: np.dtype) -> Iterator[Sample]:
    yield from _plain_samples(dtype)
    x = make((4, 3), dtype, -100, 100)
    for decimals in (0, 1, 2, -1):
        yield Sample((x,), {"decimals": decimals})
    if dt.is_integer(dtype):
        x = np.array([5, 15, 25, 35, 14, 16, 99]).astype(dtype)
        for decimals in (-1, -2, -3, 3):
            yield Sample((x, decimals))


round_ = Op(
    "round",
    aliases=["round_"],  # which does not hide Python's
    numpy=(np.round,) if np.round is np.around else (np.round, np.around),
    dtypes=NUMERIC,
    samples=_round_samples,
    errors=[
        ErrorSample((np.ones(2, np.float32), 1.5), error=TypeError, match="integer"),
        ErrorSample((X[0], 1, np.zeros((2, 3))), error=ValueError, match="out= has"),
        ErrorSample((X[0], 0, np.zeros((2, 3))), error=ValueError, match="out= has"),
    ],
    # One product and one quotient, each rounded: a result may be the next float.
    rtol={dt.float16: 4e-3},
)


@round_.impl("hlo")
def _round(a: Any, decimals: Any = 0, out: Any = None) -> Any:
    """`a` rounded to `decimals` places, halves to even."""
    a = as_tensor(a)
    if getattr(out, "shape", a.shape) != a.shape:
        raise ValueError(f"out= has shape {out.shape}, but the result has {a.shape}")
    try:
        decimals = decimals.__index__()
    except AttributeError:
        kind = type(decimals).__name__
        raise TypeError(f"decimals must be an integer, not {kind}") from None
    if dt.is_integer(a.dtype):
        rounded = a if decimals >= 0 else _round_integers(a, 10**-decimals)
        return np.positive(rounded, out=out)
    if decimals == 0:
        return np.rint(a, out=out)
    factor, own = 10.0 ** abs(decimals), a.dtype
    if is_ours(own):  # rounded once, at the end
        return np.positive(
            as_value_of(_round(a.astype(np.float32), decimals), own), out=out
        )
    before, after = (np.multiply, np.divide)[:: 1 if decimals > 0 else -1]
    steps = np.rint(as_value_of(before(a, factor), own))
    return np.positive(as_value_of(after(steps, factor), own), out=out)


def _round_integers(a: NKIPyTensorRef, unit: int) -> NKIPyTensorRef:
    ctx, own = get_hlo_context(), a.dtype
    if unit > np.iinfo(dt.int32).max:
        return NKIPyTensorRef._wrap(ctx, ctx.full(a.shape, 0, own))
    wide: Any = a if own in (dt.int32, dt.uint32) else as_value_of(a, dt.int32)
    below = wide // unit
    rest = wide - below * unit
    # Halves go to the even neighbour; an odd unit has none.
    up = (rest > unit // 2) | ((rest == unit / 2) & (below % 2 == 1))
    return as_value_of(_in_range((below + up) * unit, wide, up), own)


def _in_range(rounded: Any, wide: Any, up: Any) -> Any:
    """The nearest integer of the dtype, where it has none that is so round.

    NumPy casts a float that is out of range there, as C leaves undefined.
    """
    ends = np.iinfo(wide.dtype)
    if wide.dtype == dt.int32:
        rounded = np.where(~up & (rounded > wide), int(ends.min), rounded)
    return np.where(up & (rounded < wide), int(ends.max), rounded)


def as_value_of(a: NKIPyTensorRef, dtype: np.dtype) -> NKIPyTensorRef:
    """`a` converted, whatever the cast."""
    ctx = get_hlo_context()
    return NKIPyTensorRef._wrap(ctx, as_value(ctx, a, dtype))


# -- clip ------------------------------------------------------------------------------
def _clip_samples(dtype: np.dtype) -> Iterator[Sample]:
    x = make((4, 3), dtype, -6, 6)
    low, high = make((3,), dtype, -3, 0), make((4, 1), dtype, 0, 3, seed=1)
    yield Sample((x, low, high), label="arrays")
    yield Sample((x[0, 0], low, high), label="broadcast")
    yield Sample((x, low, None), label="low")
    yield Sample((x, None, high), label="high")
    yield Sample((x,), {"min": low, "max": high}, "min and max")
    yield Sample((x, low, high), {"out": x.copy()}, "out")
    mask = np.array([True, False, True])
    yield Sample((x, low, high), {"out": x.copy(), "where": mask}, "where")
    yield Sample((special(dtype), low[0], high[0, 0]), label="special")
    if dtype != dt.bool_:
        yield Sample((special(dtype), 1, 3), label="integers")
        yield Sample((special(dtype), 3, 1), label="reversed")
    if dt.is_integer(dtype):
        yield Sample((special(dtype), -(10**10), 10**10), label="out of range")
    yield Sample((x, 0.25, 1.5), label="floats")
    if dtype == dt.int32:
        large = np.array([0, 9, 2**31, 2**32 - 1], np.uint32)
        yield Sample((large, special(dtype)[:, None], -5), label="large uint32")
        yield Sample((large, -5, special(dtype)[:, None]), label="large uint32 first")
        yield Sample((special(dtype)[:, None], -5, large), label="to large uint32")
        yield Sample((large, 3, np.int64(7)), label="beside np.int64")


clip = Op(
    "clip",
    numpy=np.clip,
    dtypes=ALL,
    samples=_clip_samples,
    errors=[
        ErrorSample(
            (np.ones(2, np.float32), 0, 1),
            {"min": 0},
            ValueError,
            "a_min",
        ),
    ],
)


@clip.impl("hlo")
def _clip(
    a: Any,
    a_min: Any = np._NoValue,
    a_max: Any = np._NoValue,
    out: Any = None,
    *,
    min: Any = np._NoValue,
    max: Any = np._NoValue,
    where: Any = True,
    dtype: Any = None,
    casting: str = "same_kind",
    order: str = "K",
    subok: bool = True,
) -> NKIPyTensorRef:
    """`a` limited to the range from `a_min` to `a_max`, either of which may be None."""
    low, high = _bounds((a_min, a_max), (min, max))
    bounds = [as_operand(bound) for bound in (low, high) if bound is not None]
    a = as_tensor(as_arrays([as_operand(a), *bounds])[0])
    if dt.is_integer(a.dtype):  # bounds that no value reaches need not fit the dtype
        info = np.iinfo(a.dtype)
        low = None if type(low) is int and low <= info.min else low
        high = None if type(high) is int and high >= info.max else high
    keywords = {"out": out, "where": where, "dtype": dtype, "casting": casting}
    if low is None and high is None:
        return np.positive(a, **keywords)
    if low is None:
        return np.minimum(a, high, **keywords)
    if high is None:
        return np.maximum(a, low, **keywords)
    ctx = get_hlo_context()
    result = _clamp(a, low, high, dtype)
    if out is None and where is True:
        return NKIPyTensorRef._wrap(ctx, result)
    return store_out(ctx, result, out, where, casting)


def _bounds(positional: Any, named: Any) -> list[Any]:
    given = [v is not np._NoValue for v in (*positional, *named)]
    if any(given[:2]) and any(given[2:]):
        raise ValueError(
            "Passing `min` or `max` keyword argument when `a_min` and `a_max` are "
            "provided is forbidden."
        )
    chosen = named if any(given[2:]) else positional
    return [None if v is np._NoValue else v for v in chosen]


@cache
def _clip_dtype(*kinds: Any) -> np.dtype:
    """The dtype of np.clip, of which NumPy does not show the ufunc."""
    if any(map(is_ours, kinds)):
        return common_dtype(*kinds)
    values = [k(0) if isinstance(k, type) else np.zeros(1, k) for k in kinds]
    return np.clip(*values).dtype


def _clamp(a: NKIPyTensorRef, low: Any, high: Any, dtype: Any) -> Value:
    ctx = get_hlo_context()
    kinds = [kind_of(as_operand(v)) for v in (a, low, high)]
    if dtype is None:
        dtype = _clip_dtype(*kinds)
    common = dt.narrow(dtype)
    if dt.uint32 in kinds and common == dt.int32 != dt.as_dtype(dtype):
        return _clamp_mixed(a, low, high)
    values = [as_value(ctx, v, common) for v in (low, a, high)]
    shape = values[1].shape
    for bound in (values[0], values[2]):
        shape = broadcast_shape(shape, bound.shape)
    if common == dt.bool_:
        lowest, value, highest = [ctx.broadcast_to(v, shape) for v in values]
        return ctx.and_(ctx.or_(value, lowest), highest)
    # The opcode takes scalar bounds as they are.
    lowest, highest = [
        v if not v.shape else ctx.broadcast_to(v, shape) for v in values[::2]
    ]
    return ctx.clamp(lowest, ctx.broadcast_to(values[1], shape), highest)


def _clamp_mixed(a: Any, low: Any, high: Any) -> Value:
    """Signed integers and uint32, compared as what they are; in int32."""
    below = np.less(a, low)
    above = np.where(below, np.less(high, low), np.less(high, a))
    a, low, high = [as_tensor(v, dt.int32) for v in (a, low, high)]
    result: Any = np.where(above, high, np.where(below, low, a))
    return result.backend_tensor
