"""What HLO says that its opcodes make of integers, in Python's own integers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def wrap(value: int, dtype: np.dtype) -> int:
    """The number of a type that `value` is, modulo two to the number of its bits."""
    bits = 8 * dtype.itemsize
    least = -(1 << (bits - 1)) if dtype.kind == "i" else 0
    return (value - least) % (1 << bits) + least


def bits_of(value: int, dtype: np.dtype) -> int:
    """Its bits as a number from 0 up."""
    return value % (1 << 8 * dtype.itemsize)


def _quotient(x: int, y: int) -> int:
    """Towards zero; -1 of a division by zero."""
    if y == 0:
        return -1
    return abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


def _remainder(x: int, y: int) -> int:
    return x if y == 0 else x - _quotient(x, y) * y


def _power(x: int, y: int) -> int:
    if y >= 0:
        return pow(x, y, 1 << 64)
    return x ** (y % 2) if abs(x) == 1 else 0


def _shift_left(x: int, y: int, dtype: np.dtype) -> int:
    return x << min(bits_of(y, dtype), 64)


def _shift_right(x: int, y: int, dtype: np.dtype) -> int:
    return bits_of(x, dtype) >> min(bits_of(y, dtype), 64)


def _shift_right_signed(x: int, y: int, dtype: np.dtype) -> int:
    x = bits_of(x, dtype)
    sign = x >> (8 * dtype.itemsize - 1)
    return (x - (sign << 8 * dtype.itemsize)) >> min(bits_of(y, dtype), 64)


#: Of one operand and its type; results are to be wrapped.
UNARY: dict[str, Callable[[int, np.dtype], int]] = {
    "abs": lambda x, _: abs(x),
    "copy": lambda x, _: x,
    "sign": lambda x, _: (x > 0) - (x < 0),
    "negate": lambda x, _: -x,
    "not": lambda x, _: ~x,
    "popcnt": lambda x, dtype: bin(bits_of(x, dtype)).count("1"),
    "count-leading-zeros": lambda x, dtype: (
        8 * dtype.itemsize - bits_of(x, dtype).bit_length()
    ),
}

#: Of two operands and their type.
BINARY: dict[str, Callable[[int, int, np.dtype], int]] = {
    "add": lambda x, y, _: x + y,
    "subtract": lambda x, y, _: x - y,
    "multiply": lambda x, y, _: x * y,
    "divide": lambda x, y, _: _quotient(x, y),
    "remainder": lambda x, y, _: _remainder(x, y),
    "power": lambda x, y, _: _power(x, y),
    "maximum": lambda x, y, _: max(x, y),
    "minimum": lambda x, y, _: min(x, y),
    "and": lambda x, y, _: x & y,
    "or": lambda x, y, _: x | y,
    "xor": lambda x, y, _: x ^ y,
    "shift-left": _shift_left,
    "shift-right-logical": _shift_right,
    "shift-right-arithmetic": _shift_right_signed,
}


def defined(opcode: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What an opcode makes of operands of one shape and integer type.

    One that takes a single operand does not look at `y`.
    """
    dtype = x.dtype
    if opcode in UNARY:
        results = [UNARY[opcode](a, dtype) for a in x.ravel().tolist()]
    else:
        of = BINARY[opcode]
        pairs = zip(x.ravel().tolist(), y.ravel().tolist())
        results = [of(a, b, dtype) for a, b in pairs]
    wrapped = [wrap(result, dtype) for result in results]
    return np.array(wrapped, dtype).reshape(x.shape)
