"""What an instruction may give: numbers, and how far from them it may be."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.support.nki.sequences.memory import element

__all__ = ["Near", "problem", "rounded", "stored"]


class Near:
    """Numbers before they are rounded, and how far off each may be.

    What is exact is off by 0: it must be what rounding gives. What overflows on the way
    is off by infinity: it may be anything.
    """

    def __init__(self, values: Any, error: Any = 0.0) -> None:
        self.values = np.asarray(values, np.float64)
        self.error = np.broadcast_to(np.asarray(error, np.float64), self.values.shape)


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """Numbers as float32, and that as elements of a type: nearest even, saturating."""
    with np.errstate(all="ignore"):
        single = np.asarray(values, np.float64).astype(np.float32)
        kind = element(dtype)
        if kind.kind not in "iu":
            return single.astype(kind)
        limits = np.iinfo(kind)
        whole = np.rint(single.astype(np.float64))
        whole = np.where(np.isnan(whole), 0, whole)
        return np.clip(whole, limits.min, limits.max).astype(np.int64).astype(kind)


def stored(result: Near | np.ndarray, dtype: str) -> np.ndarray:
    """A result as elements; what is no :class:`Near` is elements already."""
    if isinstance(result, Near):
        return rounded(result.values, dtype)
    return result


def problem(result: Near | np.ndarray, got: np.ndarray, dtype: str) -> str | None:
    """What is wrong with elements, if anything."""
    wanted = stored(result, dtype).reshape(got.shape)
    fits = _are_same(wanted, got)
    if isinstance(result, Near) and result.error.any():
        fits |= _is_between(result, got.reshape(result.values.shape), dtype).reshape(
            got.shape
        )
    if fits.all():
        return None
    first = tuple(map(int, np.argwhere(~fits)[0]))
    return (
        f"{np.count_nonzero(~fits)} of {got.size} elements of {dtype} differ, the "
        f"first at {list(first)}: {got[first]!r}, not {wanted[first]!r}"
    )


def _are_same(mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Equal bits; or both NaN, or both 0."""
    bits = f"u{mine.dtype.itemsize}"
    same = mine.copy().view(bits) == theirs.copy().view(bits)
    a, b = mine.astype(np.float64), theirs.astype(np.float64)
    both = (np.isnan(a) & np.isnan(b)) | ((a == 0) & (b == 0))
    return np.asarray(same | both)


def _is_between(result: Near, got: np.ndarray, dtype: str) -> np.ndarray:
    low = rounded(result.values - result.error, dtype)
    high = rounded(result.values + result.error, dtype)
    number = got.astype(np.float64)
    return np.asarray(
        np.isinf(result.error)
        | _are_same(low, got)
        | _are_same(high, got)
        | ((low.astype(np.float64) <= number) & (number <= high.astype(np.float64)))
    )
