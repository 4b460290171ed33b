"""Gradients of activation functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from spike_torch.aten.activations import (
    GELU_CUBIC,
    GELU_SCALE,
    gelu_inner,
    halves,
    softplus_of,
)
from spike_torch.aten.examples import given
from spike_torch.aten.pointwise import (
    compare,
    computed,
    like,
    logistic,
    of_floats,
    one_minus,
    plus,
    record_binary,
    times,
)
from spike_torch.aten.record import lowering

if TYPE_CHECKING:
    from nkipy.hlo.builder import HLOBuilder, Value
    from spike_torch.lowering.graph import Array, Graph, Number


# -- of the gradient, and of an input or a result, alone -------------------------------
def _sigmoid(b: HLOBuilder, grad: Value, y: Value) -> Value:
    return b.multiply(b.multiply(grad, one_minus(b, y)), y)


def _tanh(b: HLOBuilder, grad: Value, y: Value) -> Value:
    return b.multiply(grad, one_minus(b, b.multiply(y, y)))


def _silu(b: HLOBuilder, grad: Value, x: Value) -> Value:
    gate = logistic(b, x)
    slope = plus(b, b.multiply(x, one_minus(b, gate)), 1)
    return b.multiply(b.multiply(grad, gate), slope)


def _mish(b: HLOBuilder, grad: Value, x: Value) -> Value:
    t = b.unary("tanh", softplus_of(b, x))
    rest = b.multiply(b.multiply(x, logistic(b, x)), one_minus(b, b.multiply(t, t)))
    return b.multiply(grad, b.add(t, rest))


def _hardsigmoid(b: HLOBuilder, grad: Value, x: Value) -> Value:
    inside = b.and_(compare(b, x, "GT", -3), compare(b, x, "LT", 3))
    return b.select(inside, times(b, grad, 1 / 6), like(b, x, 0))


def _hardswish(b: HLOBuilder, grad: Value, x: Value) -> Value:
    slope = plus(b, b.divide(x, like(b, x, 3)), 0.5)
    below = b.select(compare(b, x, "LE", -3), like(b, x, 0), b.multiply(grad, slope))
    return b.select(compare(b, x, "GE", 3), grad, below)


record_binary(
    {
        "sigmoid_backward": _sigmoid,
        "tanh_backward": _tanh,
        "silu_backward": _silu,
        "mish_backward": _mish,
        "hardsigmoid_backward": _hardsigmoid,
        "hardswish_backward": _hardswish,
    },
    "grad",
    "x",
)


# -- with parameters -------------------------------------------------------------------
@lowering("hardtanh_backward", samples=given("grad", "x", -0.5, 1.0))
def hardtanh_backward(
    g: Graph, grad_output: Array, self: Array, min_val: Number, max_val: Number
) -> Array:
    def make(b: HLOBuilder, grad: Value, x: Value) -> Value:
        inside = b.and_(compare(b, x, "GT", min_val), compare(b, x, "LT", max_val))
        return b.select(inside, grad, like(b, x, 0))

    return of_floats(g, make, grad_output, self)


@lowering("leaky_relu_backward", samples=given("grad", "x", 0.25, False))
def leaky_relu_backward(
    g: Graph,
    grad_output: Array,
    self: Array,
    negative_slope: Number,
    self_is_result: bool,
) -> Array:
    def make(b: HLOBuilder, grad: Value, x: Value) -> Value:
        return b.select(compare(b, x, "GT", 0), grad, times(b, grad, negative_slope))

    return of_floats(g, make, grad_output, self)


@lowering(
    "rrelu_with_noise_backward", samples=given("grad", "x", "y", 0.1, 0.3, True, False)
)
def rrelu_with_noise_backward(
    g: Graph,
    grad_output: Array,
    self: Array,
    noise: Array,
    lower: Number,
    upper: Number,
    training: bool,
    self_is_result: bool,
) -> Array:
    if training and upper - lower > 1e-6:
        return of_floats(g, lambda b, x, y: b.multiply(x, y), grad_output, noise)
    slope = (lower + upper) / 2
    return leaky_relu_backward(g, grad_output, self, slope, self_is_result)


@lowering("elu_backward", samples=given("grad", 1.5, 2, 0.5, False, "x"))
def elu_backward(
    g: Graph,
    grad_output: Array,
    alpha: Number,
    scale: Number,
    input_scale: Number,
    is_result: bool,
    self_or_result: Array,
) -> Array:
    def make(b: HLOBuilder, grad: Value, x: Value) -> Value:
        if is_result:
            below = b.multiply(times(b, grad, input_scale), plus(b, x, alpha * scale))
        else:
            grown = b.unary("exponential", times(b, x, input_scale))
            below = b.multiply(times(b, grad, input_scale * alpha * scale), grown)
        return b.select(compare(b, x, "GT", 0), times(b, grad, scale), below)

    return of_floats(g, make, grad_output, self_or_result)


@lowering("softplus_backward", samples=given("grad", "x", 2, 5))
def softplus_backward(
    g: Graph, grad_output: Array, self: Array, beta: Number, threshold: Number
) -> Array:
    def make(b: HLOBuilder, grad: Value, x: Value) -> Value:
        scaled = times(b, x, beta)
        grown = b.unary("exponential", scaled)
        small = b.divide(b.multiply(grad, grown), plus(b, grown, 1))
        return b.select(compare(b, scaled, "GT", threshold), grad, small)

    return of_floats(g, make, grad_output, self)


@lowering("log_sigmoid_backward", samples="logsigmoid")
def log_sigmoid_backward(
    g: Graph, grad_output: Array, self: Array, buffer: Array
) -> Array:
    """From the input alone: what the CPU keeps, other devices do not have."""

    def make(b: HLOBuilder, grad: Value, x: Value) -> Value:
        return b.multiply(grad, logistic(b, b.negate(x)))

    return of_floats(g, make, grad_output, self)


def _shrink(g: Graph, grad: Array, self: Array, lambd: Number) -> Array:
    dtype = g.result.dtype
    size = g.unary("abs", g.convert(self, dtype))
    outside = g.compare(size, g.number(lambd, dtype), "GT")
    return g.select(outside, g.convert(grad, dtype), g.number(0, dtype))


@lowering("softshrink_backward", samples=given("number", "number", 0.6))
def softshrink_backward(
    g: Graph, grad_output: Array, self: Array, lambd: Number
) -> Array:
    return _shrink(g, grad_output, self, lambd)


@lowering("hardshrink_backward", samples=given("number", "number", 0.6))
def hardshrink_backward(g: Graph, grad_out: Array, self: Array, lambd: Number) -> Array:
    return _shrink(g, grad_out, self, lambd)


@lowering("logit_backward", samples=given("grad", "unit", 0.1))
def logit_backward(
    g: Graph, grad_output: Array, self: Array, eps: float | None = None
) -> Array:
    """Outside of the range NaN, or 0 where `eps` cuts the input."""
    low, other = (0.0, math.nan) if eps is None else (eps, 0.0)

    def make(b: HLOBuilder, grad: Value, x: Value) -> Value:
        slope = b.divide(grad, b.multiply(x, one_minus(b, x)))
        inside = b.and_(compare(b, x, "GE", low), compare(b, x, "LE", 1 - low))
        return b.select(inside, slope, like(b, x, other))

    return of_floats(g, make, grad_output, self)


@lowering("gelu_backward", samples=given("grad", "x", approximate="tanh"))
def gelu_backward(
    g: Graph, grad_output: Array, self: Array, *, approximate: str = "none"
) -> Array:
    slope = _gelu_by_tanh if approximate == "tanh" else _gelu
    return computed(
        g, lambda b, grad, x: b.multiply(grad, slope(b, x)), grad_output, self
    )


def _gelu(b: HLOBuilder, x: Value) -> Value:
    below = times(b, plus(b, b.unary("erf", times(b, x, math.sqrt(0.5))), 1), 0.5)
    bell = b.unary("exponential", times(b, b.multiply(x, x), -0.5))
    return b.add(below, b.multiply(x, times(b, bell, 1 / math.sqrt(2 * math.pi))))


def _gelu_by_tanh(b: HLOBuilder, x: Value) -> Value:
    t = b.unary("tanh", gelu_inner(b, x))
    left = times(b, plus(b, t, 1), 0.5)
    inner = times(b, plus(b, times(b, b.multiply(x, x), 3 * GELU_CUBIC), 1), GELU_SCALE)
    right = b.multiply(times(b, x, 0.5), one_minus(b, b.multiply(t, t)))
    return b.add(left, b.multiply(right, inner))


# -- of two inputs ---------------------------------------------------------------------
@lowering("_prelu_kernel_backward", samples=given("grad", "x", "y"))
def prelu_backward(
    g: Graph, grad_output: Array, self: Array, weight: Array
) -> tuple[Array, Array]:
    def of_input(b: HLOBuilder, grad: Value, x: Value, weight: Value) -> Value:
        return b.select(compare(b, x, "GT", 0), grad, b.multiply(weight, grad))

    def of_weight(b: HLOBuilder, grad: Value, x: Value, weight: Value) -> Value:
        return b.select(compare(b, x, "GT", 0), like(b, x, 0), b.multiply(x, grad))

    makes: tuple[Callable[..., Value], ...] = (of_input, of_weight)
    first, second = (
        computed(g, make, grad_output, self, weight, dtype=r.dtype, returns=r.dtype)
        for make, r in zip(makes, g.results)
    )
    return first, second


@lowering("glu_backward", samples="nn.functional.glu glu")
def glu_backward(g: Graph, grad_output: Array, self: Array, dim: int) -> Array:
    axis = g.axis(self, dim)
    first, second = halves(g, self, dim)

    def of_first(b: HLOBuilder, grad: Value, x: Value, y: Value) -> Value:
        return b.multiply(grad, logistic(b, y))

    def of_second(b: HLOBuilder, grad: Value, x: Value, y: Value) -> Value:
        gate = logistic(b, y)
        slope = b.multiply(b.multiply(one_minus(b, gate), gate), x)
        return b.multiply(slope, grad)

    parts = [computed(g, m, grad_output, first, second) for m in (of_first, of_second)]
    value = g.b.concatenate([part.value for part in parts], axis)
    dims = list(parts[0].dims)
    dims[axis] = self.dims[axis]
    return type(self)(value, tuple(dims))
