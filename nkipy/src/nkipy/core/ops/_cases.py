"""Sample calls written as the calls that they are, with shapes in place of arrays.

``cases(call(A(2, 3), axis=1))`` yields one sample: a random array of shape (2, 3) in
the dtype asked for, with ``axis=1``. Arrays may stand inside lists and tuples.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._samples import Sample, make, special


class A:
    """Stands for a random array of this shape, in `dtype` or in the samples' own."""

    def __init__(self, *shape: int, dtype: np.dtype | None = None) -> None:
        self.shape = shape
        self.dtype = dtype

    def array(self, dtype: np.dtype, seed: int) -> np.ndarray:
        return make(self.shape, self.dtype or dtype, seed=seed)


class Special(A):
    """Stands for NaN, infinities, extremes of integers: what must survive a move."""

    def array(self, dtype: np.dtype, seed: int) -> np.ndarray:
        return special(self.dtype or dtype)


class DType:
    """Stands for the dtype that the samples are made in."""


def call(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of one call."""
    return args, kwargs


#: How many of the calls are made in dtypes other than float32.
_FEW = 3


class Cases:
    """A sampler that makes these calls.

    Where elements go does not depend on their dtype. So `thin` leaves, of the calls in
    other dtypes than float32, the first few and those of special values; and tests may
    leave out dtypes.
    """

    def __init__(
        self, calls: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...], thin: bool
    ) -> None:
        self.calls = calls
        self.thin = thin

    def __call__(self, dtype: np.dtype) -> Iterator[Sample]:
        for i, (args, kwargs) in enumerate(self.calls):
            special = any(isinstance(a, Special) for a in args)
            if self.thin and i >= _FEW and dtype != dt.float32 and not special:
                continue
            seeds = iter(range(1000))
            made = [_fill(a, dtype, seeds) for a in args]
            named = {k: _fill(v, dtype, seeds) for k, v in kwargs.items()}
            yield Sample(tuple(made), named, label=_label(args, kwargs))


def cases(*calls: tuple[tuple[Any, ...], dict[str, Any]], thin: bool = True) -> Cases:
    """A sampler that makes these calls, fewer of them in other dtypes than float32."""
    return Cases(calls, thin)


def _fill(value: Any, dtype: np.dtype, seeds: Iterator[int]) -> Any:
    if isinstance(value, A):
        return value.array(dtype, next(seeds))
    if value is DType:
        return dtype
    if type(value) in (list, tuple):
        return type(value)(_fill(v, dtype, seeds) for v in value)
    return value


def _label(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    parts = [_text(a) for a in args] + [f"{k}={_text(v)}" for k, v in kwargs.items()]
    return ", ".join(parts)


def _text(value: Any) -> str:
    if isinstance(value, A):
        return f"{type(value).__name__}{value.shape}"
    if type(value) in (list, tuple):
        return f"[{', '.join(map(_text, value))}]"
    return str(value)


#: An array for error samples, where the dtype does not matter.
X = np.arange(6, dtype=np.float32).reshape(2, 3)
