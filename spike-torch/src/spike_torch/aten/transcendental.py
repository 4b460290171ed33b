"""Trigonometric and hyperbolic functions, and the error function."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nkipy.hlo import compositions
from nkipy.hlo import dtypes as dt
from spike_torch.aten.examples import given
from spike_torch.aten.pointwise import (
    compare,
    computed,
    is_nan,
    like,
    logistic,
    plus,
    reciprocal,
    record_unary,
    times,
)
from spike_torch.aten.record import lowering

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nkipy.hlo.builder import HLOBuilder, Value
    from spike_torch.lowering.graph import Array, Graph


def polynomial(b: HLOBuilder, x: Value, coefficients: Sequence[float]) -> Value:
    """By Horner's scheme, from the highest power."""
    made = like(b, x, coefficients[0])
    for coefficient in coefficients[1:]:
        made = plus(b, b.multiply(made, x), coefficient)
    return made


# Approximations of erfc by rational functions, of Cephes' single precision ones.
_ERFC_BELOW_2 = (
    *(2.326819970068386e-2, -1.387039388740657e-1, 3.687424674597105e-1),
    *(-5.824733027278666e-1, 6.210004621745983e-1, -4.944515323274145e-1),
    *(3.404879937665872e-1, -2.741127028184656e-1, 5.638259427386472e-1),
)
_ERFC_ABOVE_2 = (
    *(-1.047766399936249e1, 1.297719955372516e1, -7.495518717768503),
    *(2.921019019210786, -1.015265279202700, 4.218463358204948e-1),
    *(-2.820767439740514e-1, 5.641895067754075e-1),
)


def _gaussian(b: HLOBuilder, x: Value) -> Value:
    """``exp(-x*x)``; the square is exact, in two parts, for its error would grow."""
    bits = b.bitcast_convert(x, dt.int32)
    high = b.bitcast_convert(b.and_(bits, like(b, bits, -4096)), dt.float32)
    rest = b.multiply(b.subtract(high, x), b.add(high, x))
    square = b.negate(b.multiply(high, high))
    return b.multiply(b.unary("exponential", square), b.unary("exponential", rest))


def erfc(b: HLOBuilder, x: Value) -> Value:
    size = b.unary("abs", x)
    # Of infinity, whose parts would give NaN, it is what it is of a large number.
    size = b.select(compare(b, size, "GT", 20), like(b, x, 20), size)
    inverse = reciprocal(b, size)
    square = b.multiply(inverse, inverse)
    ratio = b.select(
        compare(b, size, "LT", 2),
        polynomial(b, square, _ERFC_BELOW_2),
        polynomial(b, square, _ERFC_ABOVE_2),
    )
    tail = b.multiply(b.multiply(_gaussian(b, size), inverse), ratio)
    tail = b.select(compare(b, x, "LT", 0), b.subtract(like(b, x, 2), tail), tail)
    near = b.subtract(like(b, x, 1), b.unary("erf", x))
    return b.select(compare(b, size, "LT", 1), near, b.select(is_nan(b, x), x, tail))


# Giles' approximation of the inverse, in the middle and towards the ends.
_ERFINV_MIDDLE = (
    *(2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087),
    *(-0.00125372503, -0.00417768164, 0.246640727, 1.50140941),
)
_ERFINV_ENDS = (
    *(-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773),
    *(-0.0076224613, 0.00943887047, 1.00167406, 2.83297682),
)


def erfinv(b: HLOBuilder, x: Value) -> Value:
    w = b.negate(b.unary("log-plus-one", b.negate(b.multiply(x, x))))
    ratio = b.select(
        compare(b, w, "LT", 5),
        polynomial(b, plus(b, w, -2.5), _ERFINV_MIDDLE),
        polynomial(b, plus(b, b.unary("sqrt", w), -3), _ERFINV_ENDS),
    )
    at_end = compare(b, b.unary("abs", x), "EQ", 1)
    return b.multiply(x, b.select(at_end, like(b, x, math.inf), ratio))


def _sinc(b: HLOBuilder, x: Value) -> Value:
    angle = times(b, x, math.pi)
    ratio = b.divide(b.unary("sine", angle), angle)
    return b.select(compare(b, x, "EQ", 0), like(b, x, 1), ratio)


record_unary(
    {
        "sin": "sine",
        "cos": "cosine",
        "tan": "tan",
        "atan": compositions.arctan,
        "sinh": compositions.sinh,
        "cosh": compositions.cosh,
        "tanh": "tanh",
        "asinh": compositions.arcsinh,
        "erf": "erf",
        "erfc": erfc,
        "sigmoid": logistic,
        "sinc": _sinc,
    }
)
record_unary(
    {
        "asin": compositions.arcsin,
        "acos": compositions.arccos,
        "atanh": compositions.arctanh,
        "erfinv": erfinv,
    },
    "unit",
)
record_unary({"acosh": compositions.arccosh}, "positive")


@lowering("logit", samples=given("unit", 0.01))
def logit(g: Graph, self: Array, eps: float | None = None) -> Array:
    def make(b: HLOBuilder, x: Value) -> Value:
        if eps is not None:
            low, high = like(b, x, eps), like(b, x, 1 - eps)
            x = b.select(b.compare(x, low, "LT"), low, x)
            x = b.select(b.compare(x, high, "GT"), high, x)
        return b.unary("log", b.divide(x, b.subtract(like(b, x, 1), x)))

    return computed(g, make, self)
