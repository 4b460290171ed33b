"""Numbers as an engine has them, one at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from nkipy_nki.records import Sample

__all__ = [
    "ARITHMETIC",
    "BITS",
    "as_dtype",
    "bits_of",
    "column",
    "empty",
    "f32",
    "flat",
    "from_bits",
    "rows_of",
]


def f32(number: Any) -> np.float32:
    """A number rounded to float32."""
    with np.errstate(all="ignore"):
        return np.float32(number)


def _divided(a: float, b: float) -> float:
    with np.errstate(all="ignore"):
        return float(np.float64(a) / np.float64(b))


#: By name: what an operation gives of two numbers, or one, before it is rounded.
ARITHMETIC: dict[str, Callable[..., float]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": _divided,
    "power": lambda a, b: a**b,
    "maximum": max,
    "minimum": min,
    "abs_max": lambda a, b: max(abs(a), abs(b)),
    "abs_min": lambda a, b: min(abs(a), abs(b)),
    "equal": lambda a, b: float(a == b),
    "not_equal": lambda a, b: float(a != b),
    "greater": lambda a, b: float(a > b),
    "greater_equal": lambda a, b: float(a >= b),
    "less": lambda a, b: float(a < b),
    "less_equal": lambda a, b: float(a <= b),
    "logical_and": lambda a, b: float(a != 0 and b != 0),
    "logical_or": lambda a, b: float(a != 0 or b != 0),
    "logical_xor": lambda a, b: float((a != 0) != (b != 0)),
    "abs": abs,
    "square": lambda a: a * a,
    "relu": lambda a: max(a, 0.0),
    "reciprocal": lambda a: _divided(1.0, a),
    "rsqrt": lambda a: 1.0 / math.sqrt(a),
    "copy": lambda a: a,
    "exp": math.exp,
    "tanh": math.tanh,
    "gelu": lambda a: a * (1 + math.erf(a / math.sqrt(2))) / 2,
    "sigmoid": lambda a: 1 / (1 + math.exp(-a)),
    "prelu": lambda a, slope=0.0: a if a >= 0 else a * slope,
}
#: By name: what an operation gives of the bits of one number or two, and their count.
BITS: dict[str, Callable[[int, int, int], int]] = {
    "bitwise_and": lambda a, b, n: a & b,
    "bitwise_or": lambda a, b, n: a | b,
    "bitwise_xor": lambda a, b, n: a ^ b,
    "left_shift": lambda a, b, n: (a << b) % (1 << n),
    "right_shift": lambda a, b, n: a >> b,
    "invert": lambda a, b, n: a ^ ((1 << n) - 1),
}


def as_dtype(number: float, dtype: Any) -> Any:
    """A float32 in another type: nearest even; whole numbers saturate, NaN is 0."""
    dtype = np.dtype(dtype)
    if dtype.kind not in "iu":
        with np.errstate(all="ignore"):
            return np.float32(number).astype(dtype)
    if math.isnan(number):
        return dtype.type(0)
    limits = np.iinfo(dtype)
    if math.isinf(number):
        return dtype.type(limits.max if number > 0 else limits.min)
    return dtype.type(min(max(round(float(number)), limits.min), limits.max))


def bits_of(number: Any) -> tuple[int, int]:
    """The bits of a whole number, and how many there are."""
    count = 8 * np.dtype(type(number)).itemsize
    return int(number) % (1 << count), count


def from_bits(bits: int, dtype: Any) -> Any:
    """The number of a type that has these bits, those beyond its width left out."""
    dtype = np.dtype(dtype)
    bits %= 1 << 8 * dtype.itemsize
    return np.array(bits, f"u{dtype.itemsize}").view(dtype)[()]


def column(operand: Any, partition: int) -> Any:
    """What a number, or a tile of one for each partition, is in a partition."""
    return operand[partition].ravel()[0] if isinstance(operand, np.ndarray) else operand


def flat(array: np.ndarray) -> np.ndarray:
    """Of shape (partitions, elements of a partition)."""
    return array.reshape(array.shape[0], -1)


def empty(sample: Sample, name: str = "dst") -> tuple[np.ndarray, np.ndarray]:
    """An operand to fill, and the same of shape (partitions, elements)."""
    shape, dtype = sample.operands[name]
    made = np.zeros(shape, getattr(ml_dtypes, dtype, dtype))
    return made, flat(made)


def rows_of(tile: np.ndarray) -> list[list[float]]:
    """A tile's elements as numbers, by partition."""
    return [[float(x) for x in row] for row in tile.reshape(len(tile), -1)]
