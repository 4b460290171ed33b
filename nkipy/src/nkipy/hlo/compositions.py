"""Functions that HLO lacks, composed of its opcodes.

What a composition computes is known by its name, which is NumPy's: a compiler that has
a better way to compute it can look for the composition. Those of floats are of float32;
wider and narrower types are converted around them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder, Value

_SIGNED_OF_WIDTH: dict[int, np.dtype] = {
    **{1: dt.int8, 2: dt.int16},
    **{4: dt.int32, 8: dt.int64},
}


# -- parts -----------------------------------------------------------------------------
def bits_of(b: HLOBuilder, x: Value) -> Value:
    """The bits of a float, as the signed integer of its width."""
    assert x.dtype is not None
    return b.bitcast_convert(x, _SIGNED_OF_WIDTH[x.dtype.itemsize])


def with_sign_of(b: HLOBuilder, magnitude: Value, sign: Value) -> Value:
    """`magnitude` with the sign of `sign`; both floats of one dtype."""
    dtype = magnitude.dtype
    assert dtype is not None
    m, s = bits_of(b, magnitude), bits_of(b, sign)
    low, high = np.iinfo(m.dtype).max, np.iinfo(m.dtype).min
    bits = b.or_(b.and_(m, b.full_like(m, low)), b.and_(s, b.full_like(s, high)))
    return b.bitcast_convert(bits, dtype)


def scale(b: HLOBuilder, x: Value, factor: float) -> Value:
    """`x` times a constant."""
    return b.multiply(x, b.full_like(x, factor))


# -- trigonometric and hyperbolic functions --------------------------------------------
# Such that no digits cancel, near zero and at the ends of the range included.
_LN2 = math.log(2)
#: From here on the square exceeds float32, or 1 no longer adds to it.
_LARGE = 2.0**28


def _product_to_one(b: HLOBuilder, x: Value) -> Value:
    """``sqrt(1 - x*x)``, exact near 1."""
    one = b.full_like(x, 1)
    return b.unary("sqrt", b.multiply(b.subtract(one, x), b.add(one, x)))


def arcsin(b: HLOBuilder, x: Value) -> Value:
    return b.binary("atan2", x, _product_to_one(b, x))


def arccos(b: HLOBuilder, x: Value) -> Value:
    return b.binary("atan2", _product_to_one(b, x), x)


def arctan(b: HLOBuilder, x: Value) -> Value:
    return b.binary("atan2", x, b.full_like(x, 1))


def _half_exp(b: HLOBuilder, x: Value) -> Value:
    """``exp(x) / 2`` for large `x`, also where exp overflows and this does not."""
    root = b.unary("exponential", scale(b, x, 0.5))
    return b.multiply(scale(b, root, 0.5), root)


def sinh(b: HLOBuilder, x: Value) -> Value:
    size = b.unary("abs", x)
    grown = b.unary("exponential-minus-one", size)
    ratio = b.divide(grown, b.add(grown, b.full_like(x, 1)))
    result = scale(b, b.add(grown, ratio), 0.5)
    large = b.compare(size, b.full_like(x, 80), "GT")
    return with_sign_of(b, b.select(large, _half_exp(b, size), result), x)


def cosh(b: HLOBuilder, x: Value) -> Value:
    size = b.unary("abs", x)
    grown = b.unary("exponential", size)
    result = b.add(scale(b, grown, 0.5), b.divide(b.full_like(x, 0.5), grown))
    large = b.compare(size, b.full_like(x, 80), "GT")
    return b.select(large, _half_exp(b, size), result)


def arcsinh(b: HLOBuilder, x: Value) -> Value:
    size, one = b.unary("abs", x), b.full_like(x, 1)
    square = b.multiply(size, size)
    root = b.unary("sqrt", b.add(square, one))
    small = b.add(size, b.divide(square, b.add(one, root)))
    result = b.unary("log-plus-one", small)
    return with_sign_of(b, _or_log_of_double(b, size, result), x)


def _or_log_of_double(b: HLOBuilder, x: Value, result: Value) -> Value:
    """``log(2 * x)`` where `x` is large, else `result`."""
    logarithm = b.add(b.unary("log", x), b.full_like(x, _LN2))
    large = b.compare(x, b.full_like(x, _LARGE), "GT")
    return b.select(large, logarithm, result)


def arccosh(b: HLOBuilder, x: Value) -> Value:
    one = b.full_like(x, 1)
    above = b.subtract(x, one)
    root = b.unary("sqrt", b.multiply(above, b.add(x, one)))
    # Below -1 the product is positive again; the argument would come out wrong.
    result = b.unary("log-plus-one", b.add(above, root))
    result = _or_log_of_double(b, x, result)
    outside = b.compare(x, one, "LT")
    return b.select(outside, b.full_like(x, math.nan), result)


def arctanh(b: HLOBuilder, x: Value) -> Value:
    size = b.unary("abs", x)
    ratio = b.divide(scale(b, size, 2), b.subtract(b.full_like(x, 1), size))
    return with_sign_of(b, scale(b, b.unary("log-plus-one", ratio), 0.5), x)


# -- exponentials and logarithms -------------------------------------------------------
def exp2(b: HLOBuilder, x: Value) -> Value:
    # exp(x * ln 2) would lose the digits that the product rounds off.
    return b.binary("power", b.full_like(x, 2), x)


def log2(b: HLOBuilder, x: Value) -> Value:
    """The exponent plus the logarithm of the mantissa: exact at powers of two."""
    bits = b.bitcast_convert(x, dt.int32)
    # Mantissas from sqrt(1/2) to sqrt(2), so that nothing cancels near one.
    shifted = b.subtract(bits, b.full_like(bits, 0x3F3504F3))
    exponent = b.binary("shift-right-arithmetic", shifted, b.full_like(bits, 23))
    offset = b.binary("shift-left", exponent, b.full_like(bits, 23))
    mantissa = b.bitcast_convert(b.subtract(bits, offset), dt.float32)
    fraction = scale(b, b.unary("log", mantissa), 1 / math.log(2))
    regular = b.add(b.convert(exponent, dt.float32), fraction)
    # Zero, subnormal numbers, infinity, NaN and negative numbers: log knows.
    smallest = b.full_like(x, np.finfo(np.float32).tiny)
    positive = b.compare(x, smallest, "GE")
    usual = b.and_(positive, b.compare(x, b.full_like(x, math.inf), "LT"))
    return b.select(usual, regular, b.unary("log", x))


def log10(b: HLOBuilder, x: Value) -> Value:
    # 1/ln 10 in two parts; the first has few enough digits that the product of a
    # logarithm near an integer multiple of ln 10 rounds to that integer.
    natural = b.unary("log", x)
    result = scale(b, natural, 1 / math.log(10))
    nearest = b.unary("round-nearest-even", result)
    power = b.binary("power", b.full_like(x, 10), nearest)
    return b.select(b.compare(power, x, "EQ"), nearest, result)


def _distance(b: HLOBuilder, x: Value, y: Value) -> Value:
    """``-|x - y|``, which is 0 for infinities of the same sign."""
    apart = b.select(b.compare(x, y, "EQ"), b.full_like(x, 0), b.subtract(x, y))
    return b.negate(b.unary("abs", apart))


def logaddexp(b: HLOBuilder, x: Value, y: Value) -> Value:
    # exp of what is not positive cannot overflow, and log-plus-one keeps its digits.
    smaller = b.unary("exponential", _distance(b, x, y))
    return b.add(b.maximum(x, y), b.unary("log-plus-one", smaller))


def logaddexp2(b: HLOBuilder, x: Value, y: Value) -> Value:
    smaller = b.unary("exponential", scale(b, _distance(b, x, y), math.log(2)))
    rest = scale(b, b.unary("log-plus-one", smaller), 1 / math.log(2))
    return b.add(b.maximum(x, y), rest)


# -- others ----------------------------------------------------------------------------
def hypot(b: HLOBuilder, x: Value, y: Value) -> Value:
    # Scaled by the larger one, so that the squares neither overflow nor vanish.
    x, y = b.unary("abs", x), b.unary("abs", y)
    larger, smaller = b.maximum(x, y), b.minimum(x, y)
    ratio = b.divide(smaller, larger)
    root = b.unary("sqrt", b.add(b.full_like(x, 1), b.multiply(ratio, ratio)))
    result = b.select(
        b.compare(larger, b.full_like(x, 0), "EQ"), larger, b.multiply(larger, root)
    )
    infinity = b.full_like(x, math.inf)
    either = b.or_(b.compare(x, infinity, "EQ"), b.compare(y, infinity, "EQ"))
    return b.select(either, infinity, result)


# -- divisors of integers --------------------------------------------------------------
#: Consecutive Fibonacci numbers take longest: the largest ones below 2**(8 * size).
_EUCLID_STEPS = {1: 13, 2: 24, 4: 47}


def _or_zero(b: HLOBuilder, y: Value, result: Value) -> Value:
    """`result`; 0 where `y` is 0, by which NumPy divides so."""
    is_zero = b.compare(y, b.full_like(y, 0), "EQ")
    return b.select(is_zero, b.full_like(result, 0), result)


def _unsigned(b: HLOBuilder, x: Value) -> Value:
    """|x|: the least signed integer has no signed magnitude."""
    assert x.dtype is not None
    size = x if x.dtype in dt.UNSIGNED else b.unary("abs", x)
    return b.convert(size, np.dtype(f"uint{8 * x.dtype.itemsize}"))


def _euclid(b: HLOBuilder, x: Value, y: Value, is_nonzero: bool) -> Value:
    """Euclid's algorithm, as many steps as the dtype can need."""
    assert x.dtype is not None
    for _ in range(_EUCLID_STEPS[x.dtype.itemsize]):
        rest = b.binary("remainder", x, y)
        rest = rest if is_nonzero else _or_zero(b, y, rest)
        x, y = b.select(b.compare(y, b.full_like(y, 0), "EQ"), x, y), rest
        is_nonzero = False
    return x


def gcd(b: HLOBuilder, x: Value, y: Value, is_nonzero: bool = False) -> Value:
    """The greatest common divisor of integers of one dtype.

    Args:
        b: where to build it.
        x: integers of up to 32 bits.
        y: others.
        is_nonzero: whether no `y` is known to be 0.
    """
    assert x.dtype is not None
    divisor = _euclid(b, _unsigned(b, x), _unsigned(b, y), is_nonzero)
    return b.convert(divisor, x.dtype)


def lcm(b: HLOBuilder, x: Value, y: Value, is_nonzero: bool = False) -> Value:
    """The least common multiple, as :func:`gcd`."""
    assert x.dtype is not None
    dtype = x.dtype
    x, y = _unsigned(b, x), _unsigned(b, y)
    divisor = _euclid(b, x, y, is_nonzero)
    quotient = _or_zero(b, divisor, b.divide(x, divisor))
    return b.convert(b.multiply(quotient, y), dtype)


#: By NumPy's name: what makes the result of operands of one shape.
COMPOSITIONS: Mapping[str, Callable[..., Value]] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            *(arcsin, arccos, arctan, sinh, cosh, arcsinh, arccosh, arctanh),
            *(exp2, log2, log10, logaddexp, logaddexp2, hypot),
        )
    }
)
#: The same of integers, of whichever dtype.
INTEGER_COMPOSITIONS: Mapping[str, Callable[..., Value]] = MappingProxyType(
    {"gcd": gcd, "lcm": lcm}
)
