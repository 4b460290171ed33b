"""What tensors hold at first: by dtype, from a seed."""

from __future__ import annotations

import math
import zlib

import numpy as np

from tests.support.nki.sequences.memory import element
from tests.support.nki.sequences.plan import Plan, Tensor

__all__ = ["COUNT", "FLOATS", "INDICES", "PICKS", "WHOLE", "values_of"]

FLOATS = (
    *("float32", "bfloat16", "float16", "float8_e4m3", "float8_e5m2"),
    "float8_e4m3fn",
)
WHOLE = ("int8", "int16", "int32", "uint8", "uint16", "uint32")
#: The tensor of indices, each of which is another, less than so many.
INDICES = "rows", 6
#: The tensor of indices for each partition, each less than so many.
PICKS = "picks", 8
#: The tensor of one element that a loop counts down.
COUNT = "count"

_ODD = (0.0, -0.0, 1e-6, -3e-39, 1e4, -7e5, 3e38, math.inf, -math.inf, math.nan)


def values_of(plan: Plan) -> list[np.ndarray]:
    """The values of the tensors that are filled, in order."""
    rng = np.random.default_rng(zlib.crc32(plan.seed.encode()))
    return [_values(rng, tensor) for tensor in plan.tensors if tensor.filled]


def _values(rng: np.random.Generator, tensor: Tensor) -> np.ndarray:
    count = math.prod(tensor.shape)
    if tensor.name == INDICES[0]:
        found = rng.permutation(INDICES[1])[:count]
    elif tensor.name == PICKS[0]:
        found = rng.integers(0, PICKS[1], count)
    elif tensor.name == COUNT:
        found = rng.integers(0, 4, count)
    elif tensor.dtype in WHOLE:
        found = _whole(rng, count, tensor.dtype)
    else:
        found = _floats(rng, count)
    with np.errstate(all="ignore"):
        return found.astype(element(tensor.dtype)).reshape(tensor.shape)


def _whole(rng: np.random.Generator, count: int, dtype: str) -> np.ndarray:
    """Small ones, and now and then any."""
    limits = np.iinfo(dtype)
    small = rng.integers(max(-9, limits.min), 10, count)
    any_of_them = rng.integers(limits.min, limits.max, count, endpoint=True)
    return np.where(rng.random(count) < 0.8, small, any_of_them)


def _floats(rng: np.random.Generator, count: int) -> np.ndarray:
    """Eighths and others; in some tensors, what is odd among them."""
    eighths = rng.integers(-32, 33, count) / 8
    found = np.where(rng.random(count) < 0.5, eighths, rng.normal(0, 2, count))
    odd = rng.choice(_ODD, count)
    is_odd = (rng.random() < 0.3) & (rng.random(count) < 0.05)
    return np.where(is_odd, odd, found).astype(np.float32)
