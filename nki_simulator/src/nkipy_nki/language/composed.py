"""Functions of a tile's elements that take several instructions.

No chip has an instruction for them. Each is computed in float32, and rounded once at
its end.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from nkipy_nki.dtypes import DTypeRecord
from nkipy_nki.isa.activation import activation
from nkipy_nki.isa.arithmetic import reciprocal, tensor_tensor
from nkipy_nki.isa.broadcasts import scalar_tensor_tensor, tensor_scalar
from nkipy_nki.isa.movement import tensor_copy, tensor_copy_predicated
from nkipy_nki.language.elementwise import OfOne, of_one
from nkipy_nki.language.tiles import FLOAT32, INT32, UINT8, cast, new_tile
from nkipy_nki.operators import OPERATIONS
from nkipy_nki.tensors import NkiTensor

__all__ = ["ceil", "cos", "floor", "negative", "sin", "tan", "trunc"]

#: From here on, every float32 is a whole number.
_WHOLE_FROM = 2.0**23
#: A whole turn as the sum of two numbers, the first of 8 bits: products of it with
#: whole numbers below 2^16 are exact.
_TURN = (6.28125, 2 * math.pi - 6.28125)
#: The greatest float32 that is not more than pi.
_PI = float(np.nextafter(np.float32(math.pi), np.float32(0)))


def _negative(tile: NkiTensor, dtype: DTypeRecord) -> NkiTensor:
    made = new_tile(tile.shape, dtype)
    tensor_scalar(made, tile, OPERATIONS["multiply"], -1.0)
    return made


negative = of_one("negative", "``-x``.", _negative)


# -- to whole numbers ------------------------------------------------------------------
def _whole(name: str, about: str) -> OfOne:
    return of_one(name, about, partial(_to_whole, name))


def _to_whole(name: str, tile: NkiTensor, dtype: DTypeRecord) -> NkiTensor:
    made = new_tile(tile.shape, FLOAT32 if tile.dtype.is_float else dtype)
    tensor_copy(made, tile)
    if not tile.dtype.is_float:
        return made
    size = _new(tile)
    activation(size, OPERATIONS["abs"], tile)
    if name == "trunc":
        whole = _stepped(size, "greater", "subtract")
        sign = _new(tile)
        activation(sign, OPERATIONS["sign"], tile)
        tensor_tensor(whole, whole, sign, OPERATIONS["multiply"])
    elif name == "floor":
        whole = _stepped(made, "greater", "subtract")
    else:
        whole = _stepped(made, "less", "add")
    small = new_tile(tile.shape, UINT8)
    tensor_scalar(small, size, OPERATIONS["less"], _WHOLE_FROM)
    tensor_copy_predicated(made, whole, small)
    return cast(made, dtype)


def _stepped(tile: NkiTensor, beyond: str, back: str) -> NkiTensor:
    """The nearest whole number; where it is beyond the element, the one before it."""
    nearest = new_tile(tile.shape, INT32)
    tensor_copy(nearest, tile)
    step, made = _new(tile), _new(tile)
    tensor_tensor(step, nearest, tile, OPERATIONS[beyond])
    tensor_tensor(made, nearest, step, OPERATIONS[back])
    return made


def _new(like: NkiTensor) -> NkiTensor:
    return new_tile(like.shape, FLOAT32)


floor = _whole("floor", "The greatest whole number that is not above an element.")
ceil = _whole("ceil", "The least whole number that is not below an element.")
trunc = _whole("trunc", "The next whole number towards 0.")


# -- angles ----------------------------------------------------------------------------
def _sin(tile: NkiTensor, dtype: DTypeRecord) -> NkiTensor:
    made = new_tile(tile.shape, dtype)
    activation(made, OPERATIONS["sin"], _within_a_turn(tile))
    return made


def _cos(tile: NkiTensor, dtype: DTypeRecord) -> NkiTensor:
    made = new_tile(tile.shape, dtype)
    activation(made, OPERATIONS["sin"], _turned(_within_a_turn(tile)))
    return made


def _tan(tile: NkiTensor, dtype: DTypeRecord) -> NkiTensor:
    made, angle = new_tile(tile.shape, dtype), _within_a_turn(tile)
    above, below = _new(tile), _new(tile)
    activation(above, OPERATIONS["sin"], angle)
    activation(below, OPERATIONS["sin"], _turned(angle))
    reciprocal(below, below)
    tensor_tensor(made, above, below, OPERATIONS["multiply"])
    return made


def _within_a_turn(tile: NkiTensor) -> NkiTensor:
    """Angles with whole turns taken off: from -pi to pi."""
    add, multiply = OPERATIONS["add"], OPERATIONS["multiply"]
    turns = new_tile(tile.shape, INT32)
    tensor_scalar(turns, tile, multiply, 1 / (2 * math.pi))
    angle = _new(tile)
    tensor_copy(angle, tile)
    for part in _TURN:
        scalar_tensor_tensor(angle, turns, multiply, -part, add, angle)
    tensor_scalar(
        angle, angle, OPERATIONS["maximum"], -_PI, False, OPERATIONS["minimum"], _PI
    )
    return angle


def _turned(angle: NkiTensor) -> NkiTensor:
    """Angles whose sine is the cosine: a quarter turn less the magnitude."""
    made = _new(angle)
    activation(made, OPERATIONS["abs"], angle)
    multiply, add = OPERATIONS["multiply"], OPERATIONS["add"]
    tensor_scalar(made, made, multiply, -1.0, False, add, math.pi / 2)
    return made


_TURNS = "whole turns are taken off first; beyond 2^16 of them it is less precise."
sin = of_one("sin", f"The sine: {_TURNS}", _sin)
cos = of_one("cos", f"The cosine: {_TURNS}", _cos)
tan = of_one("tan", f"The tangent: {_TURNS}", _tan)
