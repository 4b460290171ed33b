"""What registers hold after instructions, by whole numbers of Python."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from fractions import Fraction

import ml_dtypes
import numpy as np

from nkipy_nki.records import Held, Sample
from tests.support.nki.samples import expects

BITS = {"int32": 32, "int64": 64}
LIMITS = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
}
FLOATS = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16}


def wrapped(value: int, register: Held) -> np.ndarray:
    """What is left of a number in so many bits: the lowest ones, the first a sign."""
    bits = BITS[register.dtype]
    low = value & ((1 << bits) - 1)
    return np.asarray(low - (1 << bits) if low >> (bits - 1) else low)


def number(operand: object) -> int:
    held = operand.value if isinstance(operand, Held) else operand
    assert isinstance(held, int)
    return held


def rounded(value: float) -> int:
    """The nearest whole number; of two, the even one."""
    exact = Fraction(value)
    below = exact.numerator // exact.denominator
    rest = exact - below
    return below + (
        rest > Fraction(1, 2) or (rest == Fraction(1, 2) and below % 2 == 1)
    )


@expects("register_move")
def register_move(sample: Sample) -> Mapping[str, np.ndarray]:
    return {"dst": wrapped(number(sample.operands["src"]), sample.operands["dst"])}


@expects("register_load")
def register_load(sample: Sample) -> Mapping[str, np.ndarray]:
    (element,) = sample.operands["src"].astype(object).reshape(-1)
    value = element if isinstance(element, int) else rounded(float(element))
    return {"dst": wrapped(value, sample.operands["dst"])}


@expects("scalar_load")
def scalar_load(sample: Sample) -> Mapping[str, np.ndarray]:
    return register_load(sample)


def stored(dst: tuple[tuple[int, ...], str], value: int) -> Mapping[str, np.ndarray]:
    shape, dtype = dst
    if dtype in FLOATS:
        return {"dst": np.full(shape, value, FLOATS[dtype])}
    low, high = LIMITS[dtype]
    return {"dst": np.full(shape, min(max(value, low), high), dtype)}


@expects("register_store")
def register_store(sample: Sample) -> Mapping[str, np.ndarray]:
    return stored(sample.operands["dst"], number(sample.operands["src"]))


@expects("scalar_store")
def scalar_store(sample: Sample) -> Mapping[str, np.ndarray]:
    return stored(sample.operands["dst"], number(sample.operands["value"]))


@expects("scalar_op")
def scalar_op(sample: Sample) -> Mapping[str, np.ndarray]:
    left, right = (number(sample.operands[name]) for name in ("left", "right"))
    op = sample.attributes["op"]
    known: dict[str, Callable[[int, int], int]] = {
        **{"add": operator.add, "subtract": operator.sub, "multiply": operator.mul},
        **{"less": operator.lt, "less_equal": operator.le, "equal": operator.eq},
        **{"greater": operator.gt, "greater_equal": operator.ge},
        "not_equal": operator.ne,
    }
    if op in known:
        value = int(known[op](left, right))
    elif right == 0:
        value = 0
    else:  # rounded down, as a fraction
        quotient = Fraction(left, right).__floor__()
        value = quotient if op == "floor_divide" else left - quotient * right
    return {"dst": wrapped(value, sample.operands["dst"])}
