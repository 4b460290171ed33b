"""Activation functions in float32, and other functions of one number that NumPy lacks.

The device evaluates piecewise polynomials that no document gives. These are the
functions themselves, to a few units in the last place, with the limits at infinities.
All take and give float32 arrays; warnings are the caller's to silence. Those of
:data:`INTO` write to an array if one is given, in C's order, that no other overlaps.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

import numpy as np

__all__ = [
    "INTO",
    "erf",
    "erf_dx",
    "gelu",
    "gelu_apprx_sigmoid",
    "gelu_apprx_sigmoid_dx",
    "gelu_apprx_tanh",
    "gelu_dx",
    "mish",
    "prelu",
    "reduce_angle",
    "relu",
    "rsqrt",
    "sigmoid",
    "silu",
    "silu_dx",
    "sin",
    "softplus",
]

_ONE = np.float32(1)
_ZERO = np.float32(0)
#: exp() of less than its negative is no float32, not even times as much.
_EXP_END = np.float32(120)


# -- functions by tables ---------------------------------------------------------------
class _Scratch(threading.local):
    """Arrays to work in, of each thread: fresh ones cost more than what is computed."""

    size = 1 << 15

    def __init__(self) -> None:
        self.rest = np.empty(self.size, np.float32)
        self.bits = np.empty(self.size, np.uint32)
        self.places = np.empty(self.size, np.intp)
        self.found = np.empty(self.size, np.float32)


_SCRATCH = _Scratch()
_ENTRIES = 1 << 16
_LAST_ENTRY = np.uint32(_ENTRIES - 1)
_Function: TypeAlias = Callable[[np.ndarray], np.ndarray]


class _Expansion:
    """A function by its value and slope at the nearest point of an even grid.

    With 2048 points to a unit, the rest of the series is at most 3e-8 times the second
    derivative.

    Args:
        value, slope: the function and its derivative, of float64.
        end: beyond it, and its negative, the function does not change. It is a power of
            2 up to 16.
    """

    def __init__(self, value: _Function, slope: _Function, end: int) -> None:
        density = _ENTRIES // 2 // end
        points = (np.arange(_ENTRIES) - _ENTRIES // 2) / density
        self._end = np.float32(end - 1 / density)
        #: A number plus this is rounded to a point, plus this. Less the bits of that of
        #: the first point, its bits are the point's place.
        self._rounding = np.float32((3 << 22) / density)
        self._first = self._rounding.view(np.uint32) - np.uint32(_ENTRIES // 2)
        self._values = value(points).astype(np.float32)
        self._slopes = slope(points).astype(np.float32)

    def __call__(
        self, x: np.ndarray, out: np.ndarray | None = None, *, times_x: bool = False
    ) -> np.ndarray:
        """The function of each number; if `times_x`, times that."""
        x = np.asarray(x, np.float32)
        made = np.empty(x.shape, np.float32) if out is None else out
        given, results = x.reshape(-1), made.reshape(-1)
        for start in range(0, x.size, _Scratch.size):
            part = slice(start, start + _Scratch.size)
            self._compute(given[part], results[part], times_x)
        return made

    def _compute(self, x: np.ndarray, made: np.ndarray, times_x: bool) -> None:
        """Write the function of as many numbers as the scratch arrays hold."""
        count = x.size
        rest, bits = _SCRATCH.rest[:count], _SCRATCH.bits[:count]
        places, slopes = _SCRATCH.places[:count], _SCRATCH.found[:count]
        self._find(x, rest, bits)
        inside = x
        if np.maximum.reduce(bits) > _LAST_ENTRY:
            inside = np.clip(x, -self._end, self._end)
            self._find(inside, rest, bits)
            bits &= _LAST_ENTRY  # NaN is nowhere, and stays NaN
        places[...] = bits
        rest -= self._rounding
        np.subtract(inside, rest, out=rest)
        self._slopes.take(places, mode="wrap", out=slopes)
        rest *= slopes
        self._values.take(places, mode="wrap", out=made)
        made += rest
        if times_x:
            made *= x
            if inside is not x:  # 0 times infinity is none
                np.copyto(made, _ZERO, where=np.isneginf(x))

    def _find(self, x: np.ndarray, rounded: np.ndarray, places: np.ndarray) -> None:
        """The nearest points, plus a number, and their places if they have any."""
        np.add(x, self._rounding, out=rounded)
        np.subtract(rounded.view(np.uint32), self._first, out=places)


def _each(function: Callable[[float], float]) -> _Function:
    """A function of arrays, of one of numbers, which NumPy lacks."""
    return lambda x: np.array([function(v) for v in x.tolist()])


def _density(x: np.ndarray) -> np.ndarray:
    """That of the normal distribution."""
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _probability(x: np.ndarray) -> np.ndarray:
    """That of less than x in the normal distribution."""
    return _each(math.erfc)(x * -math.sqrt(0.5)) / 2


@lru_cache(maxsize=1)
def _erf() -> _Expansion:
    slope = 2 / math.sqrt(math.pi)
    return _Expansion(_each(math.erf), lambda x: slope * np.exp(-x * x), 8)


@lru_cache(maxsize=1)
def _normal() -> _Expansion:
    return _Expansion(_probability, _density, 16)


@lru_cache(maxsize=1)
def _gelu_slope() -> _Expansion:
    return _Expansion(
        lambda x: _probability(x) + x * _density(x),
        lambda x: (2 - x * x) * _density(x),
        16,
    )


def erf(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The error function."""
    return _erf()(x, out)


def erf_dx(x: np.ndarray) -> np.ndarray:
    """Its derivative."""
    x = x * x
    np.negative(x, out=x)
    np.exp(x, out=x)
    x *= np.float32(2 / math.sqrt(math.pi))
    return x


def gelu(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """x times the probability of less than x in the normal distribution."""
    return _normal()(x, out, times_x=True)


def gelu_dx(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The derivative of :func:`gelu`."""
    return _gelu_slope()(x, out)


#: Functions that write to an array which is given.
INTO: frozenset[Callable[..., np.ndarray]] = frozenset({erf, gelu, gelu_dx})


def _finite_below(x: np.ndarray) -> np.ndarray:
    """x with another number for minus infinity, which times 0 is 0."""
    return np.maximum(x, -_EXP_END)


# -- functions of exp() ----------------------------------------------------------------
def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), to the last number that is not 0."""
    # exp(min(x, 0)) / (1 + exp(-|x|)), which never overflows
    small = np.abs(x)
    np.negative(small, out=small)
    np.exp(small, out=small)
    made = np.minimum(x, _ZERO)
    np.exp(made, out=made)
    small += _ONE
    made /= small
    return made


def _sigmoid_product(x: np.ndarray, argument: np.ndarray) -> np.ndarray:
    made = sigmoid(argument)
    made *= _finite_below(x)
    return made


def _sigmoid_product_dx(x: np.ndarray, scale: np.float32) -> np.ndarray:
    """The derivative of x * sigmoid(scale * x)."""
    x = np.clip(x, -_EXP_END, _EXP_END)
    x *= scale
    s = sigmoid(x)
    rest = sigmoid(-x)  # 1 - s would be 0 too soon
    rest *= x
    rest += _ONE
    rest *= s
    return rest


def silu(x: np.ndarray) -> np.ndarray:
    """x * sigmoid(x)."""
    return _sigmoid_product(x, x)


def silu_dx(x: np.ndarray) -> np.ndarray:
    """The derivative of :func:`silu`."""
    return _sigmoid_product_dx(x, _ONE)


_SIGMOID_SCALE = np.float32(1.702)


def gelu_apprx_sigmoid(x: np.ndarray) -> np.ndarray:
    """x * sigmoid(1.702 * x)."""
    return _sigmoid_product(x, x * _SIGMOID_SCALE)


def gelu_apprx_sigmoid_dx(x: np.ndarray) -> np.ndarray:
    """The derivative of :func:`gelu_apprx_sigmoid`."""
    return _sigmoid_product_dx(x, _SIGMOID_SCALE)


def gelu_apprx_tanh(x: np.ndarray) -> np.ndarray:
    """x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3)))."""
    # (1 + tanh(a)) / 2 is sigmoid(2 * a)
    argument = x * x
    argument *= np.float32(0.044715)
    argument += _ONE
    argument *= x
    argument *= np.float32(2 * math.sqrt(2 / math.pi))
    return _sigmoid_product(x, argument)


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x))."""
    # max(x, 0) + log(1 + exp(-|x|)), which never overflows
    made = np.abs(x)
    np.negative(made, out=made)
    np.exp(made, out=made)
    np.log1p(made, out=made)
    made += np.maximum(x, _ZERO)
    return made


def mish(x: np.ndarray) -> np.ndarray:
    """x * tanh(softplus(x))."""
    made = np.tanh(softplus(x))
    made *= _finite_below(x)
    return made


# -- the rest --------------------------------------------------------------------------
def relu(x: np.ndarray) -> np.ndarray:
    """max(x, 0)."""
    return np.maximum(x, _ZERO)


def prelu(x: np.ndarray, slope: np.ndarray | np.float32) -> np.ndarray:
    """x, times `slope` where x is negative."""
    made = np.minimum(x, _ZERO)
    made *= slope
    made += relu(x)
    return made


def rsqrt(x: np.ndarray) -> np.ndarray:
    """1 / sqrt(x)."""
    return _ONE / np.sqrt(x)


# Documented is that beyond [-pi, pi] the device goes on with a cubic, and that sin(9)
# is about 27.65 then. Chosen: a cubic in the distance d from pi with the sine's value,
# slope and curvature there, -d + c * d ** 3, whose one free number that figure gives;
# below -pi the same with the other sign.
_SIN_FIGURE = (9.0, 27.65)
_PI = np.float32(math.pi)
_CUBIC = np.float32(
    (_SIN_FIGURE[1] + (_SIN_FIGURE[0] - math.pi)) / (_SIN_FIGURE[0] - math.pi) ** 3
)


def sin(x: np.ndarray) -> np.ndarray:
    """The sine in [-pi, pi], and beyond it what the device has there: a cubic."""
    inner = np.clip(x, -_PI, _PI)
    made = np.sin(inner)
    beyond = x - inner
    if beyond.any():
        made += beyond * (_CUBIC * beyond * beyond - _ONE)
    return made


def reduce_angle(x: np.ndarray) -> np.ndarray:
    """The angle in [-pi, pi] that differs by whole turns."""
    wide = np.asarray(x, np.float64)
    wide = wide - np.rint(wide / (2 * math.pi)) * (2 * math.pi)
    return np.clip(wide.astype(np.float32), -_PI, _PI)
