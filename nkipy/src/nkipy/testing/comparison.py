"""Compares results with what NumPy gives: structure, shape, dtype and value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.tree import children, is_container, path_name
from nkipy.testing.tolerances import Tolerance

__all__ = ["compare"]

_ACCUMULATED = Tolerance()
#: Whose dtypes are not compared: objects, text, records, times, complex numbers.
_OTHER_KINDS = "OSUMmc"


def compare(
    got: Any,
    expected: Any,
    *,
    tolerance: Tolerance = _ACCUMULATED,
    label: str = "",
    path: tuple[str, ...] = (),
) -> None:
    """Check that two trees have the same leaves: shapes, dtypes and values.

    Args:
        got: arrays, scalars, and lists, tuples, dicts or dataclasses of them.
        expected: the same from NumPy. 64-bit dtypes are taken for the 32-bit ones that
            a kernel has; its None, texts and types must be in `got` as they are.
        tolerance: how far floats may be off. NaN equals NaN.
        label: what the messages call it.
        path: where the two are in larger trees.

    Raises:
        AssertionError: they differ; the text says where and how.
    """
    __tracebackhide__ = True  # pytest shows the line of the test
    if is_container(expected) and is_container(got):
        ours, theirs = list(children(got)), list(children(expected))
        keys = [key for key, _ in ours], [key for key, _ in theirs]
        _require(keys[0] == keys[1], label, path, "has {} instead of {}", *keys)
        for (key, a), (_, b) in zip(ours, theirs):
            compare(a, b, tolerance=tolerance, label=label, path=(*path, key))
    elif expected is None or isinstance(expected, (str, type)):
        same = got is expected or (expected is not None and got == expected)
        _require(same, label, path, "is {!r} instead of {!r}", got, expected)
    else:
        _compare_arrays(got, np.asarray(expected), tolerance, label, path)


def _require(
    true: bool, label: str, path: tuple[str, ...], text: str, *values: Any
) -> None:
    __tracebackhide__ = True
    if not true:
        raise AssertionError(f"{_place(label, path)}: {text.format(*values)}")


def _place(label: str, path: tuple[str, ...]) -> str:
    named = [*filter(None, [label]), *([path_name(path)] if path else [])]
    return " at ".join(named) or "the result"


def _compare_arrays(
    got: Any,
    expected: np.ndarray,
    tolerance: Tolerance,
    label: str,
    path: tuple[str, ...],
) -> None:
    __tracebackhide__ = True
    array = np.asarray(got)
    if expected.dtype.kind not in _OTHER_KINDS:
        comparable = array.dtype.kind not in _OTHER_KINDS
        _require(comparable, label, path, "is {!r} instead of {!r}", got, expected)
        dtypes = dt.narrow(array.dtype), dt.narrow(expected.dtype)
        _require(dtypes[0] == dtypes[1], label, path, "dtype {} instead of {}", *dtypes)
    shapes = array.shape, expected.shape
    _require(shapes[0] == shapes[1], label, path, "shape {} instead of {}", *shapes)
    with np.errstate(over="ignore"):  # NumPy's result has 64 bits, ours is narrowed
        expected = expected.astype(array.dtype)
    if dt.is_float(array.dtype):
        _compare_floats(array, expected, tolerance, _place(label, path))
    else:
        place = _place(label, path)
        _check_values(place, lambda: np.testing.assert_array_equal(array, expected))


def _compare_floats(
    got: np.ndarray, expected: np.ndarray, tolerance: Tolerance, place: str
) -> None:
    __tracebackhide__ = True
    x, y = got.astype(np.float64), expected.astype(np.float64)
    rtol, atol = tolerance.limits(got.dtype, y)
    _check_values(place, lambda: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol))
    if tolerance.elementwise:
        zero = (x == 0) & (y == 0)
        signs = np.signbit(x[zero]), np.signbit(y[zero])
        _check_values(
            f"{place}: sign of zero", lambda: np.testing.assert_array_equal(*signs)
        )


def _check_values(place: str, check: Callable[[], None]) -> None:
    """Say where values differ in the first line, which NumPy's text leaves empty."""
    __tracebackhide__ = True
    try:
        check()
    except AssertionError as error:
        raise AssertionError(f"{place}: {str(error).strip()}") from None
