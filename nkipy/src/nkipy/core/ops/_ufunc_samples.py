"""Sample calls of element-wise ops: keywords, and values that need care."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._samples import (
    Sample,
    Sampler,
    binary_sampler,
    make,
    special,
    unary_sampler,
)


def keyword_sampler() -> Sampler:
    """As binary_sampler, with every keyword that a ufunc takes."""
    plain = binary_sampler()

    def sampler(dtype: np.dtype) -> Iterator[Sample]:
        yield from plain(dtype)
        x, y = make((4, 3), dtype), make((4, 3), dtype, seed=1)
        out, mask = make((4, 3), dtype, seed=2), make((4, 1), dt.bool_)
        yield Sample((x, y), {"out": out.copy()}, "out")
        yield Sample((x, y), {"out": (out.copy(),)}, "out tuple")
        yield Sample((x, y, out.copy()), {}, "out by position")
        yield Sample((x, y[:1]), {"out": out.copy(), "where": mask}, "where")
        yield Sample((x[:1], y[:1]), {"out": out.copy()}, "out is larger")
        yield Sample((x, y), {"dtype": np.float32}, "dtype")
        yield Sample((x, y), {"dtype": np.dtype("int8"), "casting": "unsafe"}, "cast")
        yield Sample((x, [1, 0, 1]), {}, "list")

    return sampler


def distinct_zeros(dtype: np.dtype) -> Iterator[Sample]:
    """As binary_sampler, without -0.0: which zero is the larger is left open."""
    yield from binary_sampler(specials=False)(dtype)
    x = special(dtype)
    if dt.is_float(dtype):
        x = x[~((x == 0) & np.signbit(x))]
    yield Sample((x[:, None], x[None, :]), label="special")


def large_uint32(least: int = -(2**31)) -> Iterator[Sample]:
    """int32, not below `least`, with uint32 beyond int32, in both orders."""
    signed = np.array([0, 1, 2, 7, 31, 2**31 - 1, -1, -3, -(2**31)], np.int32)
    signed = signed[signed >= least]
    unsigned = np.array([0, 1, 3, 2**31 - 1, 2**31, 2**32 - 3, 2**32 - 1], np.uint32)
    yield Sample((signed, unsigned[:, None]), label="large uint32")
    yield Sample((unsigned[:, None], signed), label="large uint32 first")
    yield Sample((unsigned, np.int64(max(least, -4))), label="beside np.int64")


def float_sampler(low: float = -4, high: float = 4) -> Sampler:
    """As unary_sampler; special values for floats only.

    Large integers differ from the float32 that stands in for NumPy's float64, by more
    than a periodic or steep function forgives.
    """
    plain, all_values = (
        unary_sampler(low, high, specials=False),
        unary_sampler(low, high),
    )

    def sampler(dtype: np.dtype) -> Iterator[Sample]:
        yield from (all_values if dt.is_float(dtype) else plain)(dtype)

    return sampler


def near_zero_sampler(low: float = -4, high: float = 4) -> Sampler:
    """As float_sampler, with small values, where a naive composition loses digits."""
    plain = float_sampler(low, high)

    def sampler(dtype: np.dtype) -> Iterator[Sample]:
        yield from plain(dtype)
        if dt.is_float(dtype):
            wide = np.array([1e-30, 1e-9, 1e-6, 3e-5, 1e-3, 0.02, 0.3, 0.7, 0.999])
            yield Sample((np.concatenate([wide, -wide]).astype(dtype),), label="near 0")
            far = np.array([1.001, 5, 8, 9.5, 20, 60, 88, 89, 1e4, 1e10, 1e30])
            with np.errstate(over="ignore"):
                far = np.concatenate([far, -far]).astype(dtype)
            yield Sample((far,), label="far")

    return sampler
