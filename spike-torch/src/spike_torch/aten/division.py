"""Quotients and remainders, in each of torch's ways to round."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from nkipy.hlo import dtypes as dt
from nkipy.hlo.compositions import with_sign_of
from spike_torch.aten.examples import given
from spike_torch.aten.pointwise import (
    Make,
    combined,
    compare,
    computed,
    is_signed,
    is_single,
    like,
    plus,
    scaled,
    truncated,
)
from spike_torch.aten.record import lowering
from spike_torch.lowering.dtypes import hlo_dtype
from spike_torch.lowering.errors import Unsupported

if TYPE_CHECKING:
    from nkipy.hlo.builder import HLOBuilder, Value
    from spike_torch.lowering.graph import Array, Graph, Number


@lowering("div.Scalar true_divide.Scalar", samples=given("x", 3))
@lowering("div.Tensor true_divide.Tensor", samples=given("x", "y"))
def div(g: Graph, self: Array, other: Array | Number) -> Array:
    return scaled(g, combined("divide"), self, other)


@lowering("div.Scalar_mode", samples=given("x", 3, rounding_mode="floor"))
@lowering("div.Tensor_mode", samples=given("x", "y", rounding_mode="trunc"))
def div_mode(
    g: Graph, self: Array, other: Array | Number, *, rounding_mode: str | None
) -> Array:
    if rounding_mode is None:
        return div(g, self, other)
    if rounding_mode == "floor":
        return floor_divide(g, self, other)
    if not g.result.dtype.is_floating_point:
        return _quotient(g, combined("divide"), self, other)
    if is_single(other):
        return scaled(g, _toward_zero, self, other)
    # The quotient of two narrow arrays is rounded before it is cut.
    return computed(g, truncated, div(g, self, other))


@lowering("floor_divide.Scalar", samples=given("i", -4))
@lowering("floor_divide", samples=given("x", "y"))
def floor_divide(g: Graph, self: Array, other: Array | Number) -> Array:
    dtype = g.result.dtype
    if not dtype.is_floating_point:
        return _quotient(g, _floor_of_integers, self, other)
    if is_single(other):
        return scaled(g, _floor_of_floats, self, other)
    return computed(g, partial(_floor_of_floats, each=hlo_dtype(dtype)), self, other)


@lowering("remainder.Scalar_Tensor", samples=given(7.5, "y"))
@lowering("remainder.Scalar", samples=given("i", -4))
@lowering("remainder.Tensor", samples=given("x", "y"))
def remainder(g: Graph, self: Array | Number, other: Array | Number) -> Array:
    return _quotient(g, _with_sign_of_divisor, self, other)


@lowering("fmod.Scalar", samples=given("i", -4))
@lowering("fmod.Tensor", samples=given("x", "y"))
def fmod(g: Graph, self: Array, other: Array | Number) -> Array:
    return _quotient(g, _rest, self, other)


def _quotient(g: Graph, make: Make, x: Array | Number, y: Array | Number) -> Array:
    if g.result.dtype == torch.bool:
        raise Unsupported("takes no booleans")
    dtype = g.result.dtype
    return computed(g, make, g.operand(x, dtype), g.operand(y, dtype))


def _toward_zero(b: HLOBuilder, x: Value, y: Value) -> Value:
    return truncated(b, b.divide(x, y))


def _rest(b: HLOBuilder, x: Value, y: Value) -> Value:
    """With the sign of the dividend."""
    return b.binary("remainder", x, y)


def _is_opposed(b: HLOBuilder, rest: Value, y: Value) -> Value:
    """Whether a remainder is not zero, and of the sign that the divisor has not."""
    signs = b.xor(compare(b, rest, "LT", 0), compare(b, y, "LT", 0))
    return b.and_(compare(b, rest, "NE", 0), signs)


def _with_sign_of_divisor(b: HLOBuilder, x: Value, y: Value) -> Value:
    rest = _rest(b, x, y)
    if dt.is_integer(x.dtype) and not is_signed(x):
        return rest
    return b.select(_is_opposed(b, rest, y), b.add(rest, y), rest)


def _floor_of_integers(b: HLOBuilder, x: Value, y: Value) -> Value:
    ratio = b.divide(x, y)
    if not is_signed(x):
        return ratio
    opposed = _is_opposed(b, _rest(b, x, y), y)
    return b.subtract(ratio, b.convert(opposed, x.dtype))


def _floor_of_floats(
    b: HLOBuilder, x: Value, y: Value, each: np.dtype | None = None
) -> Value:
    """As Python does it: the quotient of what the remainder leaves is nearly whole.

    `each` is the dtype to which the CPU rounds the result of each step.
    """

    def rounded(value: Value) -> Value:
        return b.convert(b.convert(value, each or x.dtype), x.dtype)

    rest = _rest(b, x, y)
    ratio = rounded(b.divide(rounded(b.subtract(x, rest)), y))
    below = rounded(plus(b, ratio, -1))
    ratio = b.select(_is_opposed(b, rest, y), below, ratio)
    whole = b.unary("floor", ratio)
    is_above = compare(b, b.subtract(ratio, whole), "GT", 0.5)
    whole = b.select(is_above, plus(b, whole, 1), whole)
    quotient = b.divide(x, y)
    zero = with_sign_of(b, like(b, x, 0), quotient)
    whole = b.select(compare(b, ratio, "EQ", 0), zero, whole)
    return b.select(compare(b, y, "EQ", 0), quotient, whole)
