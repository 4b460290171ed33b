"""Gamma functions, modified Bessel functions, and those of the normal distribution.

Polynomials are interpolations at Chebyshev's points, in a variable from -1 to 1, of
what is smooth of a function: what is left without its zeros and its growth.
"""

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
    one_minus,
    plus,
    reciprocal,
    record_unary,
    times,
)
from spike_torch.aten.record import lowering
from spike_torch.aten.transcendental import polynomial
from spike_torch.lowering.errors import Unsupported

if TYPE_CHECKING:
    from nkipy.hlo.builder import HLOBuilder, Value
    from spike_torch.lowering.graph import Array, Graph


# -- gamma functions -------------------------------------------------------------------
# Of log(gamma(x)) / ((x - 1) * (x - 2)) from 1 to 4.
_LOG_GAMMA = (
    *(-5.73566249e-05, 0.000100283331, 5.36211846e-05, -9.19955637e-05),
    *(-0.000215086518, 0.000381756574, -0.000365905173, 0.000672976836),
    *(-0.0014010173, 0.00262976554, -0.00500001991, 0.00986444857),
    *(-0.0203134175, 0.0447867252, -0.111995362, 0.37957716),
)
# Of digamma(x) / (x - x0) from 1 to 4, where x0 is its zero.
_DIGAMMA = (
    *(0.000463285163, -0.000772377593, -0.000681113743, 0.00113489549),
    *(0.00155488902, -0.00259489939, 0.00113337592, -0.00190666353),
    *(0.00491246348, -0.00829197001, 0.0135703171, -0.02326723),
    *(0.0405497551, -0.0721943229, 0.133938447, -0.269871235),
    *(0.677174866,),
)
#: The zero of digamma, in two parts.
_ZERO, _ZERO_REST = 1.4616321325302124, 1.2438149938918909e-08
# Stirling's series, in the inverse of the square.
_LOG_GAMMA_SERIES = (-1 / 1680, 1 / 1260, -1 / 360, 1 / 12)
_DIGAMMA_SERIES = (-1 / 240, 1 / 252, -1 / 120, 1 / 12)


def _from_1_to_4(b: HLOBuilder, x: Value) -> Value:
    return times(b, plus(b, x, -2.5), 1 / 1.5)


def _from_1(b: HLOBuilder, x: Value) -> tuple[Value, Value]:
    """Where a positive number is below 1, and that number or the next one after it."""
    below = compare(b, x, "LT", 1)
    return below, b.select(below, plus(b, x, 1), x)


def _log_gamma_of_positive(b: HLOBuilder, x: Value) -> Value:
    below, y = _from_1(b, x)
    # As factors, which are exact: both of x, also where one has been added to it.
    one = b.select(below, x, plus(b, y, -1))
    two = b.select(below, plus(b, x, -1), plus(b, y, -2))
    near = b.multiply(b.multiply(one, two), _shape(b, y, _LOG_GAMMA))
    logarithm = b.unary("log", x)
    near = b.select(below, b.subtract(near, logarithm), near)
    inverse = reciprocal(b, x)
    series = polynomial(b, b.multiply(inverse, inverse), _LOG_GAMMA_SERIES)
    far = b.multiply(plus(b, x, -0.5), plus(b, logarithm, -1))
    far = b.add(far, plus(b, b.multiply(series, inverse), _HALF_LOG_2_PI_LESS_HALF))
    return b.select(compare(b, x, "LT", 4), near, far)


_HALF_LOG_2_PI_LESS_HALF = (math.log(2 * math.pi) - 1) / 2


def _shape(b: HLOBuilder, x: Value, coefficients: tuple[float, ...]) -> Value:
    return polynomial(b, _from_1_to_4(b, x), coefficients)


def _fraction(b: HLOBuilder, size: Value) -> Value:
    """How far a positive number is from the nearest integer: from -1/2 to 1/2."""
    rest = b.subtract(size, b.unary("floor", size))
    return b.select(compare(b, rest, "GT", 0.5), plus(b, rest, -1), rest)


def _lgamma(b: HLOBuilder, x: Value) -> Value:
    size = b.unary("abs", x)
    made = _log_gamma_of_positive(b, size)
    sine = b.unary("sine", times(b, b.unary("abs", _fraction(b, size)), math.pi))
    both = b.add(b.unary("log", sine), b.unary("log", size))
    mirrored = b.subtract(b.subtract(like(b, x, math.log(math.pi)), both), made)
    made = b.select(compare(b, x, "LT", 0), mirrored, made)
    infinite = compare(b, size, "EQ", math.inf)
    return b.select(infinite, size, made)


def _digamma_of_positive(b: HLOBuilder, x: Value) -> Value:
    below, y = _from_1(b, x)
    inverse = reciprocal(b, x)
    from_zero = plus(b, plus(b, y, -_ZERO), -_ZERO_REST)
    near = b.multiply(from_zero, _shape(b, y, _DIGAMMA))
    near = b.select(below, b.subtract(near, inverse), near)
    square = b.multiply(inverse, inverse)
    series = b.multiply(square, polynomial(b, square, _DIGAMMA_SERIES))
    far = b.subtract(b.unary("log", x), times(b, inverse, 0.5))
    return b.select(compare(b, x, "LT", 4), near, b.subtract(far, series))


def _digamma(b: HLOBuilder, x: Value) -> Value:
    size = b.unary("abs", x)
    is_negative = compare(b, x, "LT", 0)
    made = _digamma_of_positive(b, b.select(is_negative, plus(b, size, 1), x))
    fraction = _fraction(b, size)
    tangent = b.unary("tan", times(b, fraction, math.pi))
    mirrored = b.add(made, b.divide(like(b, x, math.pi), tangent))
    is_whole = compare(b, fraction, "EQ", 0)
    mirrored = b.select(is_whole, like(b, x, math.nan), mirrored)
    made = b.select(is_negative, mirrored, made)
    infinite = compositions.with_sign_of(b, like(b, x, math.inf), b.negate(x))
    return b.select(compare(b, x, "EQ", 0), infinite, made)


def _trigamma(b: HLOBuilder, x: Value) -> Value:
    """As the CPU computes it, also where the sine of what is rounded is not 0."""
    mirrored = compare(b, x, "LT", 0.5)
    y = b.select(mirrored, one_minus(b, x), x)
    total: Value | None = None
    for _ in range(6):
        term = reciprocal(b, b.multiply(y, y))
        total = term if total is None else b.add(total, term)
        y = plus(b, y, 1)
    assert total is not None
    square = reciprocal(b, b.multiply(y, y))
    series = polynomial(b, square, (1 / 42, -1 / 30, 1 / 6))
    rest = plus(
        b, b.add(times(b, reciprocal(b, y), 0.5), b.multiply(square, series)), 1
    )
    total = b.add(total, b.divide(rest, y))
    sine = b.unary("sine", times(b, x, math.pi))
    poles = b.divide(like(b, x, math.pi**2), b.multiply(sine, sine))
    return b.select(mirrored, b.subtract(poles, total), total)


@lowering("polygamma", samples=given(1, "x"))
def polygamma(g: Graph, n: int, self: Array) -> Array:
    if n > 1:
        raise Unsupported(f"has order {n}: those of 0 and 1 have a lowering")
    return computed(g, _trigamma if n else _digamma, self)


# -- modified Bessel functions ---------------------------------------------------------
# Of exp(-x) * i0(x) from 0 to 8.
_I0_BELOW_8 = (
    *(0.000335946243, -0.000850852695, 0.000469624385, -0.000759696646),
    *(0.00406265445, -0.00800985005, 0.0116616329, -0.0188651253),
    *(0.0302974097, -0.0433137938, 0.0567491092, -0.0694645122),
    *(0.0792787448, -0.0849730521, 0.0873432159, -0.0890428871),
    *(0.0945156291, -0.113004334, 0.207001925),
)
# Of exp(-x) * sqrt(x) * i0(x), in 8 / x from 0 to 1.
_I0_ABOVE_8 = (
    *(3.54762022e-07, 1.63903985e-06, 1.11221561e-05, 0.000136156159),
    *(0.00336055318, 0.402176499),
)
# Of exp(-x) * i1(x) / x from 0 to 8.
_I1_BELOW_8 = (
    *(4.59831062e-05, -0.000123552789, 0.000100479672, -0.000203178293),
    *(0.000799466856, -0.00169763051, 0.00296905846, -0.00542831467),
    *(0.00959863141, -0.0156138297, 0.0236825943, -0.0336614251),
    *(0.0446750037, -0.0552812889, 0.063767381, -0.0684825331),
    *(0.0680575967, -0.0611243397, 0.0446877107),
)
# Of exp(-x) * sqrt(x) * i1(x), in 8 / x from 0 to 1.
_I1_ABOVE_8 = (
    *(-1.22124959e-07, -4.21555455e-07, -1.82671454e-06, -1.50033229e-05),
    *(-0.000219236666, -0.00974958111, 0.389398456),
)


def _i0e(b: HLOBuilder, x: Value) -> Value:
    return _scaled_bessel(b, b.unary("abs", x), _I0_BELOW_8, _I0_ABOVE_8)


def _i1e(b: HLOBuilder, x: Value) -> Value:
    size = b.unary("abs", x)
    made = _scaled_bessel(b, size, _I1_BELOW_8, _I1_ABOVE_8, factor=size)
    return b.select(compare(b, x, "LT", 0), b.negate(made), made)


def _scaled_bessel(
    b: HLOBuilder,
    x: Value,
    below: tuple[float, ...],
    above: tuple[float, ...],
    factor: Value | None = None,
) -> Value:
    near = polynomial(b, plus(b, times(b, x, 0.25), -1), below)
    near = near if factor is None else b.multiply(near, factor)
    far = polynomial(b, plus(b, b.divide(like(b, x, 16), x), -1), above)
    far = b.divide(far, b.unary("sqrt", x))
    return b.select(compare(b, x, "LE", 8), near, far)


def _grown(b: HLOBuilder, x: Value, scaled: Value) -> Value:
    return b.multiply(b.unary("exponential", b.unary("abs", x)), scaled)


# -- the normal distribution -----------------------------------------------------------
# Of (1 + 2 * x) * erfcx(x), in (x - 3.75) / (x + 3.75).
_ERFCX = (
    *(2.36348205e-05, -0.000224052055, 0.000325388479, 0.0016757343),
    *(-0.00976469088, 0.0284094308, -0.0586882532, 0.092290692),
    *(-0.108804561, 0.0822784305, 0.00358543801, -0.140240654),
    *(1.23751259,),
)


def _exp_of_square(b: HLOBuilder, x: Value) -> Value:
    """The square is exact, in two parts, for its error would grow."""
    bits = b.bitcast_convert(x, dt.int32)
    high = b.bitcast_convert(b.and_(bits, like(b, bits, -4096)), dt.float32)
    rest = b.multiply(b.subtract(x, high), b.add(x, high))
    square = b.multiply(high, high)
    return b.multiply(b.unary("exponential", square), b.unary("exponential", rest))


def _erfcx(b: HLOBuilder, x: Value) -> Value:
    size = b.unary("abs", x)
    # Of infinity, whose quotient would be NaN, it is what it is of a large number.
    bounded = b.select(compare(b, size, "GT", 1e30), like(b, x, 1e30), size)
    place = b.divide(plus(b, bounded, -3.75), plus(b, bounded, 3.75))
    made = b.divide(polynomial(b, place, _ERFCX), plus(b, times(b, size, 2), 1))
    grown = b.subtract(times(b, _exp_of_square(b, x), 2), made)
    beyond = compare(b, x, "LT", -10)
    grown = b.select(beyond, like(b, x, math.inf), grown)
    return b.select(compare(b, x, "LT", 0), grown, made)


# Cephes' approximations of the inverse: in the middle, and by sqrt(-2 * log(p)) below 8
# and above. Those of quotients are numerator and denominator.
_NDTRI_MIDDLE = (
    (
        *(-5.99633501014107895267e1, 9.80010754185999661536e1),
        *(-5.66762857469070293439e1, 1.39312609387279679503e1),
        *(-1.23916583867381258016,),
    ),
    (
        *(1.0, 1.95448858338141759834, 4.67627912898881538453),
        *(8.63602421390890590575e1, -2.25462687854119370527e2),
        *(2.00260212380060660359e2, -8.20372256168333339912e1),
        *(1.59056225126211695515e1, -1.18331621121330003142),
    ),
)
_NDTRI_BELOW_8 = (
    (
        *(4.05544892305962419923, 3.15251094599893866154e1),
        *(5.71628192246421288162e1, 4.40805073893200834700e1),
        *(1.46849561928858024014e1, 2.18663306850790267539),
        *(-1.40256079171354495875e-1, -3.50424626827848203418e-2),
        *(-8.57456785154685413611e-4,),
    ),
    (
        *(1.0, 1.57799883256466749731e1, 4.53907635128879210584e1),
        *(4.13172038254672030440e1, 1.50425385692907503408e1),
        *(2.50464946208309415979, -1.42182922854787788574e-1),
        *(-3.80806407691578277194e-2, -9.33259480895457427372e-4),
    ),
)
_NDTRI_ABOVE_8 = (
    (
        *(3.23774891776946035970, 6.91522889068984211695),
        *(3.93881025292474443415, 1.33303460815807542389),
        *(2.01485389549179081538e-1, 1.23716634817820021358e-2),
        *(3.01581553508235416007e-4, 2.65806974686737550832e-6),
        *(6.23974539184983293730e-9,),
    ),
    (
        *(1.0, 6.02427039364742014255, 3.67983563856160859403),
        *(1.37702099489081330271, 2.16236993594496635890e-1),
        *(1.34204006088543189037e-2, 3.28014464682127739104e-4),
        *(2.89247864745380683936e-6, 6.79019408009981274425e-9),
    ),
)
_END = math.exp(-2)


def _quotient(
    b: HLOBuilder, x: Value, both: tuple[tuple[float, ...], tuple[float, ...]]
) -> Value:
    numerator, denominator = both
    return b.divide(polynomial(b, x, numerator), polynomial(b, x, denominator))


def _ndtri(b: HLOBuilder, p: Value) -> Value:
    is_high = compare(b, p, "GT", 1 - _END)
    tail = b.select(is_high, one_minus(b, p), p)
    middle = plus(b, tail, -0.5)
    square = b.multiply(middle, middle)
    near = b.multiply(square, _quotient(b, square, _NDTRI_MIDDLE))
    near = times(b, b.add(middle, b.multiply(middle, near)), math.sqrt(2 * math.pi))
    x = b.unary("sqrt", times(b, b.unary("log", tail), -2))
    inverse = reciprocal(b, x)
    first = b.subtract(x, b.divide(b.unary("log", x), x))
    ratio = b.select(
        compare(b, x, "LT", 8),
        _quotient(b, inverse, _NDTRI_BELOW_8),
        _quotient(b, inverse, _NDTRI_ABOVE_8),
    )
    far = b.subtract(first, b.multiply(inverse, ratio))
    far = b.select(is_high, far, b.negate(far))
    made = b.select(compare(b, tail, "GT", _END), near, far)
    for end, value in ((0, -math.inf), (1, math.inf)):
        made = b.select(compare(b, p, "EQ", end), like(b, p, value), made)
    outside = b.or_(compare(b, p, "LT", 0), compare(b, p, "GT", 1))
    return b.select(b.or_(outside, is_nan(b, p)), like(b, p, math.nan), made)


record_unary(
    {
        "lgamma": _lgamma,
        "digamma": _digamma,
        "i0": lambda b, x: _grown(b, x, _i0e(b, x)),
        "special_i0e": _i0e,
        "special_i1": lambda b, x: _grown(b, x, _i1e(b, x)),
        "special_i1e": _i1e,
        "special_erfcx": _erfcx,
    }
)
record_unary({"special_ndtri": _ndtri}, "probability")
