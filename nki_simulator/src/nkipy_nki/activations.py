"""Activation functions in float32, and other functions of one number that NumPy lacks.

The device evaluates piecewise polynomials that no document gives. These are the
functions themselves, to a few units in the last place, with the limits at infinities.
All take and give float32 arrays; warnings are the caller's to silence.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

__all__ = [
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
_HALF = np.float32(0.5)
_ZERO = np.float32(0)
#: exp() of less than its negative is no float32, not even times as much.
_EXP_END = np.float32(120)


# -- functions by tables ---------------------------------------------------------------
class _Expansion:
    """A function by its expansion at the nearest of the numbers of 16 bits.

    A float32 rounded to its upper 16 bits is within a 256th of itself. From there, two
    terms of Taylor's series suffice, whose second is ``-bend * x`` times the first,
    which holds of the integrals of bell curves.

    Args:
        value, slope: the function and its derivative.
        end: beyond it, and its negative, the function does not change.
        bend: half of what the slope's logarithm loses per x, over x.
    """

    def __init__(
        self,
        value: Callable[[float], float],
        slope: Callable[[float], float],
        end: float,
        bend: float,
    ) -> None:
        self._end = np.float32(end)
        self._bend = np.float32(bend)
        bits = np.arange(1 << 16, dtype=np.uint32) << np.uint32(16)
        points = bits.view(np.float32).astype(np.float64)
        points = np.where(np.isnan(points), points, np.clip(points, -end, end))
        # One look-up finds both: the value is the real part, the slope the other.
        self._table = np.array(
            [complex(value(x), slope(x)) for x in points.tolist()], np.complex64
        )

    def __call__(self, x: np.ndarray) -> np.ndarray:
        x = np.clip(x, -self._end, self._end)
        near = x.view(np.uint32) + np.uint32(0x8000)
        found = self._table.take((near >> np.uint32(16)).astype(np.intp), mode="wrap")
        near &= np.uint32(0xFFFF0000)
        at = near.view(np.float32)
        x -= at
        at *= x
        at *= -self._bend
        at += _ONE
        at *= x
        at *= found.imag
        at += found.real
        return at


def _bell(x: float) -> float:
    """The normal distribution's density."""
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


@lru_cache(maxsize=1)
def _erf() -> _Expansion:
    return _Expansion(
        math.erf, lambda x: 2 / math.sqrt(math.pi) * math.exp(-x * x), 4.0, 1.0
    )


@lru_cache(maxsize=1)
def _normal() -> _Expansion:
    return _Expansion(lambda x: math.erfc(-x / math.sqrt(2)) / 2, _bell, 15.0, 0.5)


def erf(x: np.ndarray) -> np.ndarray:
    """The error function."""
    return _erf()(x)


def erf_dx(x: np.ndarray) -> np.ndarray:
    """Its derivative."""
    x = x * x
    np.negative(x, out=x)
    np.exp(x, out=x)
    x *= np.float32(2 / math.sqrt(math.pi))
    return x


def gelu(x: np.ndarray) -> np.ndarray:
    """x times the normal distribution's cumulative probability."""
    made = _normal()(x)
    made *= _finite_below(x)
    return made


def gelu_dx(x: np.ndarray) -> np.ndarray:
    """The derivative of :func:`gelu`."""
    x = np.clip(x, np.float32(-30), np.float32(30))
    bell = x * x
    bell *= np.float32(-0.5)
    np.exp(bell, out=bell)
    bell *= np.float32(1 / math.sqrt(2 * math.pi))
    bell *= x
    bell += _normal()(x)
    return bell


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
    return np.where(x < 0, x * slope, x)


def rsqrt(x: np.ndarray) -> np.ndarray:
    """1 / sqrt(x)."""
    made = np.sqrt(x)
    return np.divide(_ONE, made, out=made if isinstance(made, np.ndarray) else None)


# Documented is that beyond [-pi, pi] the device goes on with a cubic, and that sin(9)
# is about 27.65 then. Chosen: a cubic in the distance d from pi, odd around 0, with the
# sine's value and slope there and no square: -d + c * d ** 3. It has one free number,
# which that figure gives.
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
