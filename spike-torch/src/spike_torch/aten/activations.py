"""Activation functions of neural networks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from spike_torch.aten.examples import given
from spike_torch.aten.pointwise import (
    compare,
    computed,
    is_nan,
    like,
    logistic,
    of_floats,
    plus,
    record_unary,
    times,
)
from spike_torch.aten.record import lowering
from spike_torch.aten.selection import clamp
from spike_torch.lowering.errors import Unsupported

if TYPE_CHECKING:
    from nkipy.hlo.builder import HLOBuilder, Value
    from spike_torch.lowering.graph import Array, Graph, Number


@lowering("relu", samples=given("x"))
def relu(g: Graph, self: Array) -> Array:
    if self.dtype == torch.bool:
        raise Unsupported("takes no booleans")
    zero = g.number(0, self.dtype)
    return g.select(g.compare(self, zero, "LT"), zero, self)  # -0.0 stays


@lowering("hardtanh", samples=given("x", -2, 3))
def hardtanh(g: Graph, self: Array, min_val: Number = -1, max_val: Number = 1) -> Array:
    return clamp(g, self, min_val, max_val)


@lowering("leaky_relu", samples=given("x", -0.5))
def leaky_relu(g: Graph, self: Array, negative_slope: Number = 0.01) -> Array:
    def make(b: HLOBuilder, x: Value) -> Value:
        return b.select(compare(b, x, "GT", 0), x, times(b, x, negative_slope))

    return of_floats(g, make, self)


@lowering("_prelu_kernel", samples=given("x", "y"))
def prelu(g: Graph, self: Array, weight: Array) -> Array:
    def make(b: HLOBuilder, x: Value, weight: Value) -> Value:
        return b.select(compare(b, x, "GT", 0), x, b.multiply(weight, x))

    return computed(g, make, self, weight)


# -- of exponentials -------------------------------------------------------------------
@lowering("elu", samples=given("x", 1.5, 2, 0.5))
def elu(
    g: Graph,
    self: Array,
    alpha: Number = 1,
    scale: Number = 1,
    input_scale: Number = 1,
) -> Array:
    def make(b: HLOBuilder, x: Value) -> Value:
        grown = b.unary("exponential-minus-one", times(b, x, input_scale))
        below = times(b, grown, alpha * scale)
        return b.select(compare(b, x, "LT", 0), below, times(b, x, scale))

    return of_floats(g, make, self)


@lowering("celu", samples=given("x", 1.5))
def celu(g: Graph, self: Array, alpha: Number = 1.0) -> Array:
    if alpha == 0:
        raise Unsupported("divides by alpha, which is 0")
    return elu(g, self, alpha, 1.0, 1.0 / alpha)


@lowering("selu", samples=given("x"))
def selu(g: Graph, self: Array) -> Array:
    return elu(g, self, 1.6732632423543772848170429916717, 1.0507009873554804934193349)


@lowering("softplus", samples=given("x", 2, 5))
def softplus(g: Graph, self: Array, beta: Number = 1, threshold: Number = 20) -> Array:
    def make(b: HLOBuilder, x: Value) -> Value:
        scaled = times(b, x, beta)
        grown = b.unary("log-plus-one", b.unary("exponential", scaled))
        small = b.divide(grown, like(b, x, beta))
        return b.select(compare(b, scaled, "GT", threshold), x, small)

    return of_floats(g, make, self)


@lowering("log_sigmoid_forward", samples=given("x"))
def log_sigmoid_forward(g: Graph, self: Array) -> tuple[Array, Array]:
    """The result, and ``exp(-|x|)``, which the CPU keeps for the gradient."""
    dtype = self.dtype

    def buffer(b: HLOBuilder, x: Value) -> Value:
        return b.unary("exponential", b.negate(b.unary("abs", x)))

    def make(b: HLOBuilder, x: Value) -> Value:
        least = b.minimum(x, like(b, x, 0))
        return b.subtract(least, b.unary("log-plus-one", buffer(b, x)))

    if len(g.results[1].sizes) != self.ndim:
        raise Unsupported("keeps nothing for the gradient")
    made = computed(g, make, self, dtype=dtype, returns=dtype)
    return made, computed(g, buffer, self, dtype=dtype, returns=dtype)


def _silu(b: HLOBuilder, x: Value) -> Value:
    return b.divide(x, plus(b, b.unary("exponential", b.negate(x)), 1))


def softplus_of(b: HLOBuilder, x: Value) -> Value:
    return b.unary("log-plus-one", b.unary("exponential", x))


def _mish(b: HLOBuilder, x: Value) -> Value:
    return b.multiply(x, b.unary("tanh", softplus_of(b, x)))


def _hardsigmoid(b: HLOBuilder, x: Value) -> Value:
    return b.divide(_of_six(b, x), like(b, x, 6))


def _hardswish(b: HLOBuilder, x: Value) -> Value:
    return b.divide(b.multiply(x, _of_six(b, x)), like(b, x, 6))


def _of_six(b: HLOBuilder, x: Value) -> Value:
    """``x + 3``, from 0 to 6."""
    return b.minimum(b.maximum(plus(b, x, 3), like(b, x, 0)), like(b, x, 6))


record_unary(
    {
        "silu": _silu,
        "mish": _mish,
        "hardsigmoid": _hardsigmoid,
        "hardswish": _hardswish,
    }
)

#: Of the approximation of gelu by tanh.
GELU_SCALE, GELU_CUBIC = math.sqrt(2 / math.pi), 0.044715


@lowering("gelu", samples=given("x", approximate="tanh"))
def gelu(g: Graph, self: Array, *, approximate: str = "none") -> Array:
    def make(b: HLOBuilder, x: Value) -> Value:
        if approximate == "tanh":
            inner = b.unary("tanh", gelu_inner(b, x))
        else:
            inner = b.unary("erf", times(b, x, math.sqrt(0.5)))
        return b.multiply(times(b, x, 0.5), plus(b, inner, 1))

    return of_floats(g, make, self)


def gelu_inner(b: HLOBuilder, x: Value) -> Value:
    """What gelu's approximation takes tanh of."""
    cube = b.multiply(b.multiply(x, x), x)
    return times(b, b.add(x, times(b, cube, GELU_CUBIC)), GELU_SCALE)


# -- shrinking -------------------------------------------------------------------------
@lowering("softshrink", samples=given("x", 0.6))
def softshrink(g: Graph, self: Array, lambd: Number = 0.5) -> Array:
    def make(b: HLOBuilder, x: Value) -> Value:
        below = compare(b, x, "LT", -lambd)
        nothing = b.select(is_nan(b, x), x, like(b, x, 0))
        inside = b.select(below, plus(b, x, lambd), nothing)
        return b.select(compare(b, x, "GT", lambd), plus(b, x, -lambd), inside)

    return of_floats(g, make, self)


@lowering("hardshrink", samples=given("x", 0.6))
def hardshrink(g: Graph, self: Array, lambd: Number = 0.5) -> Array:
    limit = g.number(lambd, self.dtype)
    is_small = g.compare(g.unary("abs", self), limit, "LE")
    return g.select(is_small, g.number(0, self.dtype), self)


# -- gates -----------------------------------------------------------------------------
@lowering("glu")
def glu(g: Graph, self: Array, dim: int = -1) -> Array:
    first, second = halves(g, self, dim)
    return of_floats(g, lambda b, x, y: b.multiply(x, logistic(b, y)), first, second)


def halves(g: Graph, x: Array, dim: int) -> tuple[Array, Array]:
    """The two halves of an array along a dimension.

    Raises:
        NeedsExactSize: there is padding along it, between them.
    """
    axis = g.axis(x, dim)
    g.require_exact(x, "halves a dimension", [axis])
    n = x.dims[axis].padded // 2
    dims = tuple(g.dim(n) if a == axis else d for a, d in enumerate(x.dims))
    first, second = (
        type(x)(g.b.slice_dim(x.value, axis, start, start + n), dims)
        for start in (0, n)
    )
    return first, second
