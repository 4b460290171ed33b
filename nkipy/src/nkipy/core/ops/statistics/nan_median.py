"""The median that passes over NaN."""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import get_hlo_context
from nkipy.core.ops._reduction import (
    finish,
    many_axes,
    mean_dtype,
    operand,
    round_unless,
    spread,
)
from nkipy.core.ops._registry import supports
from nkipy.core.ops.reduce.nan import nan_record, nan_samples
from nkipy.core.ops.statistics.order import sorted_rows
from nkipy.core.tensor import NKIPyTensorRef
from nkipy.hlo.builder import HLOBuilder, Value

nanmedian = nan_record(
    np.nanmedian,
    nan_samples,
    # NumPy's own fails for ml_dtypes' NaN.
    dtypes=supports(dt.float32, dt.float16, dt.INTEGERS, dt.bool_),
)


@nanmedian.impl("hlo")
def _nanmedian(
    a: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    keepdims: Any = False,
) -> NKIPyTensorRef:
    """``numpy.nanmedian``: sorts, which moves NaN out of the way."""
    ctx = get_hlo_context()
    x = operand(a)
    axes = many_axes(axis, x.ndim)
    assert x.dtype is not None
    rows = ctx.convert(sorted_rows(ctx, x, axes), dt.float32)
    value = _middle_of_numbers(ctx, rows)
    value = round_unless(ctx, value, mean_dtype(x.dtype, None), out)
    return finish(ctx, value, x.shape, axes, bool(keepdims), out)


def _middle_of_numbers(b: HLOBuilder, rows: Value) -> Value:
    """The median of each float32 row, in order, as far as it is not NaN."""
    last = rows.ndim - 1
    good = b.convert(b.compare(rows, rows, "EQ"), dt.int32)
    n = b.reduce(good, "add", 0, (last,))
    one = b.full_like(n, 1)
    high = b.emit("shift-right-logical", (n, one), n.shape, n.dtype)
    low = b.subtract(b.subtract(n, high), one)
    lower, upper = _pick(b, rows, low), _pick(b, rows, high)
    mean = b.multiply(b.add(lower, upper), b.full_like(upper, 0.5))
    middle = b.select(b.compare(low, high, "EQ"), upper, mean)
    nothing = b.compare(n, b.full_like(n, 0), "EQ")
    return b.select(nothing, b.full_like(middle, float("nan")), middle)


def _pick(b: HLOBuilder, rows: Value, places: Value) -> Value:
    """The element of each row at its place, read by a sum over a mask."""
    last = rows.ndim - 1
    chosen = b.compare(
        b.iota(rows.shape, last), spread(b, places, rows.shape, (last,)), "EQ"
    )
    return b.reduce(b.select(chosen, rows, b.full_like(rows, 0)), "add", 0, (last,))
