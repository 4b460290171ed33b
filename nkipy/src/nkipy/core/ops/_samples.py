"""Sample calls of ops: what tests compare with NumPy and benchmarks time.

A sampler is a function of a dtype that yields :class:`Sample` calls. Every ndarray
among a sample's arguments becomes a parameter of the traced kernel; all else is static.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from nkipy.core import dtypes as dt


class Sample:
    """One call: positional and keyword arguments, and what tells it from others."""

    def __init__(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None = None,
        label: str = "",
    ) -> None:
        self.args = args
        self.kwargs = {} if kwargs is None else kwargs
        self.label = label


class ErrorSample:
    """A call that must raise `error` at trace time, with `match` in its text."""

    def __init__(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None = None,
        error: type[Exception] = ValueError,
        match: str = "",
    ) -> None:
        self.args = args
        self.kwargs = {} if kwargs is None else kwargs
        self.error = error
        self.match = match


Sampler = Callable[[np.dtype], Iterable[Sample]]

#: 0-d, zero-size, odd, and more than one vector register.
SHAPES: tuple[tuple[int, ...], ...] = ((), (0,), (5,), (3, 0, 2), (2, 3, 5), (1, 67))
#: Those in other dtypes than float32, on which broadcasting does not depend: one
#: element, none, and enough for vector registers of every width and a rest.
FEW_SHAPES: tuple[tuple[int, ...], ...] = ((), (3, 0, 2), (1, 67))
#: Pairs that NumPy broadcasts.
BROADCASTS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((), ()),
    ((4, 3), (4, 3)),
    ((4, 1), (3,)),
    ((), (2, 3)),
    ((0, 3), (1, 3)),
    ((2, 1, 5), (1, 3, 1)),
)
#: Those in other dtypes than float32.
FEW_BROADCASTS = (((), ()), ((0, 3), (1, 3)), ((2, 1, 5), (1, 3, 1)))


def make(
    shape: Sequence[int],
    dtype: np.dtype,
    low: float = -4,
    high: float = 4,
    seed: int = 0,
) -> np.ndarray:
    """Random values of `dtype` in [low, high], the same ones for the same arguments."""
    rng = np.random.default_rng([seed, len(tuple(shape)), int(np.prod(shape))])
    if dtype == dt.bool_:
        return rng.integers(0, 2, shape).astype(bool)
    if dt.is_integer(dtype):
        info = np.iinfo(dtype)
        low, high = max(int(np.ceil(low)), info.min), min(int(high), info.max)
        return rng.integers(low, high, shape, endpoint=True).astype(dtype)
    return rng.uniform(low, high, shape).astype(dtype)


def special(dtype: np.dtype) -> np.ndarray:
    """Zeros of both signs, infinities, NaN, extremes: what goes wrong first; 1-D."""
    if dtype == dt.bool_:
        return np.array([False, True])
    if dt.is_integer(dtype):
        info = np.iinfo(dtype)
        values = [0, 1, 2, 3, 7, info.max - 1, info.max, info.min, info.min + 1]
        values += [-1, -2, -3, -7] if info.min < 0 else []
        return np.array(values, dtype)
    limits = ml_dtypes.finfo(dtype)
    tiny, largest = float(limits.smallest_normal), float(limits.max)
    reals = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, tiny, -tiny]
    reals += [largest, -largest, np.nan]
    if dtype != dt.float8_e4m3fn:
        reals += [np.inf, -np.inf]
    return np.array(reals).astype(dtype)


def unary_sampler(low: float = -4, high: float = 4, specials: bool = True) -> Sampler:
    """Samples of an element-wise op of one operand with values in [low, high]."""

    def sampler(dtype: np.dtype) -> Iterator[Sample]:
        for shape in SHAPES if dtype == dt.float32 else FEW_SHAPES:
            yield Sample((make(shape, dtype, low, high),), label=f"shape{shape}")
        if specials:
            yield Sample((special(dtype),), label="special")

    return sampler


def binary_sampler(
    low: float = -4, high: float = 4, specials: bool = True, nonzero: bool = False
) -> Sampler:
    """Samples of an element-wise op of two operands, perhaps no zero to the right."""

    def sampler(dtype: np.dtype) -> Iterator[Sample]:
        for left, right in BROADCASTS if dtype == dt.float32 else FEW_BROADCASTS:
            x = make(left, dtype, low, high)
            y = make(right, dtype, low, high, seed=1)
            y = np.where(y == 0, np.ones((), dtype), y) if nonzero else y
            yield Sample((x, y), label=f"{left}{right}")
        if specials:
            x = special(dtype)
            y = x[x != 0] if nonzero else x
            yield Sample((x[:, None], y[None, :]), label="special")
        scalar = True if dtype == dt.bool_ else 3 if dt.is_integer(dtype) else 0.75
        x = make((3, 2), dtype, low, high)
        yield Sample((x, scalar), label="right scalar")
        yield Sample((scalar, np.where(x == 0, np.ones((), dtype), x)), label="left")

    return sampler
