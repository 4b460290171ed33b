"""Sample indices, valid and not, shared by reads and stores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._samples import ErrorSample, Sample, make

# Lists stay static where they stand in a sample; arrays would be traced.
_MASK = (np.arange(30).reshape(5, 6) % 3 == 0).tolist()
#: Indices of an array of shape (5, 6, 7).
BASIC: tuple[Any, ...] = (
    2,
    -1,
    np.int64(3),
    slice(1, 4),
    slice(None, None, -1),
    slice(4, None, -2),
    slice(3, 3),
    slice(-100, 100),
    Ellipsis,
    None,
    (),
    (1, 2, 3),
    (slice(None), -2),
    (Ellipsis, slice(None, None, 3)),
    (0, Ellipsis, slice(5, 1, -2)),
    (None, slice(np.int32(1), None), None, 4, slice(None, None, 2)),
    (slice(None, None, 2), slice(1, None, 2), slice(None, None, -1)),
)
ADVANCED: tuple[Any, ...] = (
    [0, 2, 2],
    [-1, 1],
    [1, 2, 3],
    [],
    ([[0, 1], [4, -3]],),
    (slice(None), [0, 5, 3]),
    (slice(1, 4), slice(None, None, 2), [6, 0]),
    ([0, 1, 4], [1, 0, 5]),
    ([0, 1], slice(None), [2, 3]),
    (0, slice(None), [1, 4, 2]),
    (slice(None), 1, [1, 4, 2]),
    ([0, 1], None, [1, 2]),
    (None, [0, 3, 1], None, slice(None), 2),
    ([[0], [1]], [[2, 3, 5]], Ellipsis),
    (Ellipsis, [3, 0, 5], slice(None)),
    ([[[0]], [[3]], [[1]]], [[[5], [2]]], [[[1, 2, 6]]]),
    [True, False, True, True, False],
    (_MASK,),
    (_MASK, slice(None, None, -1)),
    (slice(None), slice(None), [False] * 4 + [True] * 3),
    ([False] * 5,),
)


def _base(dtype: np.dtype) -> np.ndarray:
    return make((5, 6, 7), dtype)


def getitem_samples(dtype: np.dtype) -> Iterator[Sample]:
    """Every kind of static index, then the same with traced integers."""
    full = dtype in (dt.float32, dt.int32)
    for index in (
        BASIC + ADVANCED if full else BASIC[4:7] + ADVANCED[:4] + ADVANCED[7:9]
    ):
        yield Sample((_base(dtype), index), label=f"{index}")
    for index in traced_indices() if full else []:
        yield Sample((_base(dtype), index), label=f"traced {index}")
    yield Sample((make((), dtype), ()), label="0-d")
    yield Sample((make((), dtype), (None, ...)), label="0-d new axis")
    yield Sample((make((0, 3), dtype), (slice(None), [0, 2])), label="zero-size")


def traced_indices() -> Iterator[Any]:
    """Arrays that reach the op as parameters, when they stand in a sample's tuple."""
    t = np.array(-2, np.int32)
    rows = np.array([0, -1, 4, 2], np.int32)
    columns = np.array([[5], [-6]], np.int8)
    yield (t,)
    yield (slice(None), t, slice(None, None, 2))
    yield (1, t, np.array(3, np.uint8))
    yield (rows,)
    yield (slice(1, 3), np.array([[0, 1], [2, -3]], np.int16))
    yield (rows, columns)
    yield (rows, slice(None), [0, 1, 2, 3])
    yield (rows, t)
    yield (t, slice(None), rows)


def setitem_samples(dtype: np.dtype) -> Iterator[Sample]:
    """Every kind of index with a value that fits, one that broadcasts, and a scalar."""
    full = dtype in (dt.float32, dt.int32)
    few = BASIC[4:6] + BASIC[-1:] + ADVANCED[:2] + ADVANCED[7:9] + ADVANCED[-4:-3]
    scalar: Any = True if dtype == dt.bool_ else 3
    for index in BASIC + ADVANCED if full else few:
        shape = np.empty((5, 6, 7))[index].shape
        yield Sample(
            (_base(dtype), index, make(shape, dtype, seed=1)), label=f"{index}"
        )
        yield Sample((_base(dtype), index, scalar), label=f"{index} scalar")
        row = make((1, 1, *shape[-1:]), dtype, seed=2)[(0,) * (2 - len(shape[:-1]))]
        if full and len(shape):
            yield Sample((_base(dtype), index, row), label=f"{index} row")
    for index in traced_indices() if full else []:
        shape = np.empty((5, 6, 7))[index].shape
        value = make(shape, dtype, seed=1)
        yield Sample((_base(dtype), index, value), label=f"traced {index}")
    yield Sample((_base(dtype), (_MASK,), scalar), label="mask")
    for holds in (True, False):
        mask = np.array(holds)
        yield Sample((_base(dtype), mask, scalar), label=f"0-d mask {holds}")
        yield Sample((make((), dtype), mask, make((1,), dtype)), label="0-d, masked")
    yield Sample((make((), dtype), (), scalar), label="0-d")
    yield Sample((make((0, 3), dtype), (slice(None), [0, 2]), scalar), label="empty")


def getitem_reference(x: Any, index: Any) -> Any:
    """``x[index]``."""
    return x[index]


def setitem_reference(x: Any, index: Any, value: Any) -> None:
    """``x[index] = value``."""
    x[index] = value


_X = np.zeros((4, 3), np.float32)
_I8 = np.zeros(3, np.int8)
_BAD: tuple[tuple[Any, type[Exception], str], ...] = (
    (4, IndexError, "index 4 is out of bounds for axis 0 with size 4"),
    ((0, -4), IndexError, "index -4 is out of bounds for axis 1 with size 3"),
    ((0, 0, 0), IndexError, "too many indices"),
    ((Ellipsis, Ellipsis), IndexError, "single ellipsis"),
    (1.5, IndexError, "only integers"),
    ("a", IndexError, "only integers"),
    (True, NotImplementedError, "Boolean scalar indexing"),
    ((slice(None), np.bool_(False)), NotImplementedError, "Boolean scalar indexing"),
    ([0, 4], IndexError, "out of bounds"),
    ([1.0, 2.0], IndexError, "only integers"),
    ([True, False], IndexError, "boolean index did not match"),
    (([0, 1], [0, 1, 2]), IndexError, "could not be broadcast"),
    (slice(None, None, 0), ValueError, "slice step cannot be zero"),
)
getitem_errors = tuple(ErrorSample((_X, i), {}, e, m) for i, e, m in _BAD) + (
    ErrorSample((_X, np.ones((4, 3), bool)), {}, NotImplementedError, "np.where"),
)
setitem_errors = tuple(ErrorSample((_X, i, 1), {}, e, m) for i, e, m in _BAD) + (
    ErrorSample((_X, 0, np.zeros(2)), {}, ValueError, "could not broadcast"),
    ErrorSample((_X, [0, 1], np.zeros((3, 3))), {}, ValueError, "could not broadcast"),
    ErrorSample(
        (_X, np.ones((4, 3), bool), np.zeros(4)), {}, NotImplementedError, "where"
    ),
    ErrorSample((_I8, 0, 300), {}, OverflowError, "out of bounds for int8"),
    ErrorSample((_X, 0, 1j), {}, TypeError, "complex"),
)
