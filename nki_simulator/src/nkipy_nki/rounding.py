"""Rounds float32 values to what is stored of them, and widens that again."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

__all__ = [
    "as_float32",
    "cast",
    "from_byte",
    "same",
    "to_bool",
    "to_byte",
    "to_integer",
    "to_tfloat32",
]

_FLOAT32 = np.dtype(np.float32)
#: From so many bytes on, two are looked up at a time.
_MANY = 1 << 12


# -- floats ----------------------------------------------------------------------------
def as_float32(values: np.ndarray) -> np.ndarray:
    """Numbers as an engine hands them over."""
    if values.dtype == _FLOAT32:
        return values
    with np.errstate(all="ignore"):
        return values.astype(np.float32)


def same(elements: np.ndarray) -> np.ndarray:
    """Elements that are their values."""
    return elements


def _has_nan(values: np.ndarray) -> bool:
    return bool(np.isnan(values).any())


def cast(element: np.dtype) -> Callable[[np.ndarray], np.ndarray]:
    """Rounds to a float type as NumPy casts to it: nearest even."""

    def rounding(values: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return as_float32(values).astype(element)

    return rounding


def to_tfloat32(values: np.ndarray) -> np.ndarray:
    """A float32 of 10 bits of mantissa; nearest even."""
    values = as_float32(values)
    bits = values.view(np.uint32)
    sums = bits >> np.uint32(13)
    sums &= np.uint32(1)
    sums += np.uint32(0xFFF)
    sums += bits
    sums &= np.uint32(0xFFFFE000)
    rounded = sums.view(np.float32)
    if _has_nan(values):  # the sum could carry one into infinity
        np.copyto(rounded, np.float32(np.nan), where=np.isnan(values))
    return rounded


def _odd_halves(values: np.ndarray) -> np.ndarray:
    """The upper 16 bits of float32 values, the last of them set if a lower one is.

    Rounding that to fewer bits gives what rounding the whole gives.
    """
    bits = values.view(np.uint32)
    halves = bits & np.uint32(0xFFFF)
    halves += np.uint32(0xFFFF)
    halves |= bits
    halves >>= np.uint32(16)
    return halves


@lru_cache(maxsize=16)
def _rounded_halves(element: np.dtype) -> np.ndarray:
    """By 16 bits of a float32, what a type of 8 bits or fewer rounds it to."""
    bits = np.arange(1 << 16, dtype=np.uint32) << np.uint32(16)
    with np.errstate(all="ignore"):
        table = bits.view(np.float32).astype(element).view(np.uint8)
    table.flags.writeable = False
    return table


@lru_cache(maxsize=16)
def _values_of_bytes(element: np.dtype) -> np.ndarray:
    """By its byte, the value of an element."""
    table = np.arange(1 << 8, dtype=np.uint8).view(element).astype(np.float32)
    table.flags.writeable = False
    return table


def _are_pairs(elements: np.ndarray) -> bool:
    """Whether bytes can be looked up two at a time, and are so many that it pays."""
    if elements.size < _MANY or elements.shape[-1] % 2:
        return False
    return elements.flags.c_contiguous


def to_byte(element: np.dtype) -> Callable[[np.ndarray], np.ndarray]:
    """Rounds to a type of one byte, by a table: a cast takes five times as long.

    What is too great becomes infinity, or NaN where there is none.
    """

    def rounding(values: np.ndarray) -> np.ndarray:
        halves = _odd_halves(as_float32(values))
        return _rounded_halves(element).take(halves, mode="clip").view(element)

    return rounding


@lru_cache(maxsize=16)
def _values_of_pairs(element: np.dtype) -> np.ndarray:
    """By its two bytes, the values of a pair of elements, as one of 8 bytes."""
    pairs = np.arange(1 << 16, dtype=np.uint16).view(np.uint8)
    table = _values_of_bytes(element)[pairs].view(np.uint64)
    table.flags.writeable = False
    return table


def from_byte(element: np.dtype) -> Callable[[np.ndarray], np.ndarray]:
    """Widens a type of one byte, by a table."""

    def widening(elements: np.ndarray) -> np.ndarray:
        if _are_pairs(elements):
            pairs = elements.view(np.uint16)
            found = _values_of_pairs(element).take(pairs, mode="wrap")
            return np.asarray(found.view(_FLOAT32))
        return _values_of_bytes(element).take(elements.view(np.uint8), mode="wrap")

    return widening


# -- whole numbers ---------------------------------------------------------------------
def to_integer(element: np.dtype) -> Callable[[np.ndarray], np.ndarray]:
    """Rounds floats half to even; what is too great or too small is the limit.

    NaN becomes 0, which no document says. Whole numbers are taken as they are.
    """
    limits = np.iinfo(element)
    above = np.float32(limits.max)  # of 32 bits and more, the limit plus 1
    top = above if int(above) <= limits.max else np.nextafter(above, np.float32(0))
    bottom = np.float32(limits.min)

    def rounding(values: np.ndarray) -> np.ndarray:
        if values.dtype.kind in "iub":
            return _saturated(values, element)
        values = as_float32(values)
        whole = np.rint(values)
        if _has_nan(values):
            np.copyto(whole, np.float32(0), where=np.isnan(values))
        made = np.clip(whole, bottom, top).astype(element)
        if top != above:
            np.copyto(made, element.type(limits.max), where=whole >= above)
        return made

    return rounding


def _saturated(values: np.ndarray, element: np.dtype) -> np.ndarray:
    """Whole numbers in another type of them."""
    if values.dtype == element or values.dtype.kind == "b":
        return values.astype(element, copy=False)
    have, want = np.iinfo(values.dtype), np.iinfo(element)
    low, high = max(have.min, want.min), min(have.max, want.max)
    return np.clip(values, low, high).astype(element)


def to_bool(values: np.ndarray) -> np.ndarray:
    """1 of everything that is not 0, NaN among it."""
    return (values != 0).view(np.uint8)
