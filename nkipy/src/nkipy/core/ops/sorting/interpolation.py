"""Linear interpolation between given points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.op_table import OPS
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample, Sample, make
from nkipy.core.ops._views import duplicate
from nkipy.core.promotion import as_arrays, float64_type
from nkipy.core.tensor import NKIPyTensorRef, as_operand, as_tensor

_POINTS = np.array([-3, -1, -0.5, 2, 3], np.float32)


def _samples(dtype: np.dtype) -> Iterator[Sample]:
    x = make((4, 5), dtype)
    values = make((5,), dtype, seed=1)
    points = (_POINTS * 2).astype(dtype)
    yield Sample((x, points, values), label="inside and outside")
    yield Sample((x, points.tolist(), values), {"left": -9, "right": 9}, label="ends")
    yield Sample((points, points, values), label="at the points")
    yield Sample((x, points[:1], values[:1]), label="one point")
    yield Sample((x, points, values), {"period": 11}, label="period")
    yield Sample((make((), dtype), points, values), label="0-d")
    if dt.is_float(dtype) and dtype != dt.float8_e4m3fn:
        yield from _infinite(dtype)


def _infinite(dtype: np.dtype) -> Iterator[Sample]:
    inf, nan = np.inf, np.nan
    x = np.array([-inf, -7, -2, -1.5, -1, 0.5, 1, 2, 3, inf, nan]).astype(dtype)
    values = [[0, 0.5, 1, 3], [2, 2, -inf, -inf], [inf, 1, inf, 2], [-inf, 3, nan, inf]]
    for points in ([-inf, -1, 1, inf], [-inf, -inf, 1, 3], [-2, 1, inf, inf]):
        for i, ends in enumerate(values):
            args = (x, np.array(points).astype(dtype), np.array(ends).astype(dtype))
            yield Sample(args, label=f"infinite {points} {i}")
    one = np.array([inf]).astype(dtype)
    yield Sample((x, one, one), {"left": 4}, "an infinite point")


interp = Op(
    "interp",
    numpy=np.interp,
    memory_order="made",
    dtypes=(*dt.FLOATS, *dt.FP8, dt.int32),
    samples=_samples,
    errors=(
        ErrorSample((_POINTS, [], []), {}, ValueError, "empty"),
        ErrorSample((_POINTS, [1, 2], [1]), {}, ValueError, "same length"),
        ErrorSample((_POINTS, [[1]], [[1]]), {}, ValueError, "1-D"),
        ErrorSample((_POINTS, [1], [1]), {"period": 0}, ValueError, "period"),
    ),
)


@interp.impl("hlo")
def _interp(
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> NKIPyTensorRef:
    """Values at `x` of the lines between the points, which ascend in `xp`.

    Raises:
        ValueError: no points, or not as many values as points; a period of zero.
    """
    operands = as_arrays([as_operand(v) for v in (x, xp, fp)])
    result = float64_type(*operands)
    x, xp, fp = (as_tensor(v, dt.float32) for v in operands)
    if xp.ndim != 1 or fp.ndim != 1:
        raise ValueError(
            "data points must be 1-D sequences, but received "
            f"{xp.ndim}-D and {fp.ndim}-D"
        )
    if not xp.size:
        raise ValueError("array of sample points is empty")
    if xp.shape != fp.shape:
        raise ValueError("fp and xp are not of the same length")
    if period is not None:
        x, xp, fp = _periodic(x, xp, fp, period)
        left = right = None
    return duplicate(_between(x, xp, fp, left, right).astype(result, copy=False))


def _periodic(x: Any, xp: Any, fp: Any, period: Any) -> tuple[Any, Any, Any]:
    """The points in one period, in order, with one more on each side."""
    if period == 0:
        raise ValueError("period must be a non-zero value")
    period = abs(period)
    xp = xp % period
    order = OPS["argsort"](xp)
    xp, fp = xp[order], fp[order]
    join = OPS["concatenate"]
    xp = join([xp[-1:] - period, xp, xp[:1] + period])
    return x % period, xp, join([fp[-1:], fp, fp[:1]])


def _between(x: Any, xp: Any, fp: Any, left: Any, right: Any) -> NKIPyTensorRef:
    where = OPS["where"]
    if xp.size == 1:
        result: Any = fp[0]  # beside one point, NumPy takes NaN for it
    else:
        result = _on_lines(x, xp, fp)
    result = where(x == xp[-1], fp[-1], result)
    above = fp[-1] if right is None else as_tensor(right, dt.float32)
    below = fp[0] if left is None else as_tensor(left, dt.float32)
    return where(x < xp[0], below, where(x > xp[-1], above, result))


def _on_lines(x: Any, xp: Any, fp: Any) -> NKIPyTensorRef:
    """Values of the lines through neighbouring points; NaN where `x` is.

    As NumPy: from the left end, or, where that is NaN beside an infinity, from the
    right one, or, where that is NaN as well, the value that both ends have.
    """
    where = OPS["where"]
    last = xp.size - 2
    below = OPS["clip"](OPS["searchsorted"](xp, x, side="right") - 1, 0, last)
    x0, f0, x1, f1 = xp[below], fp[below], xp[below + 1], fp[below + 1]
    slope = (f1 - f0) / (x1 - x0)
    result = slope * (x - x0) + f0
    result = where(result == result, result, slope * (x - x1) + f1)
    result = where((result != result) & (f0 == f1), f0, result)
    return where(x == x0, f0, where(x == x, result, x))
