"""Arrays that XLA can read where they lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

ALIGNMENT = 64

#: Inputs from this size on are read where they lie if they are aligned. Below, copying
#: them is cheaper than asking for an XLA array over memory not seen before.
ZERO_COPY_BYTES = 1 << 18


def maker(shape: Sequence[int], dtype: Any) -> Callable[[], np.ndarray]:
    """What makes arrays as :func:`empty` does, one with each call."""
    dtype = np.dtype(dtype)
    is_small = dtype.itemsize * prod(shape) < ZERO_COPY_BYTES
    return partial(np.empty if is_small else empty, tuple(shape), dtype)


def empty(shape: Sequence[int], dtype: Any) -> np.ndarray:
    """``np.empty``, aligned for XLA if it is large enough for that to matter."""
    dtype = np.dtype(dtype)
    nbytes = dtype.itemsize * prod(shape)
    if nbytes < ZERO_COPY_BYTES:
        return np.empty(shape, dtype)
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    address: int = raw.__array_interface__["data"][0]
    return np.ndarray(shape, dtype, raw, -address % ALIGNMENT)
