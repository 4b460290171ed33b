"""Element-wise ops of one operand.

Made from the records of ops by tools/generate_op_stubs.py; not to be edited.
"""

from typing import Any

from numpy.typing import ArrayLike, DTypeLike, NDArray

def abs(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.absolute``, element by element."""

absolute = abs

def arccos(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.arccos``, element by element."""

def arccosh(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.arccosh``, element by element."""

def arcsin(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.arcsin``, element by element."""

def arcsinh(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.arcsinh``, element by element."""

def arctan(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.arctan``, element by element."""

def arctanh(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.arctanh``, element by element."""

def bitwise_count(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.bitwise_count``, element by element."""

def cbrt(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.cbrt``, element by element."""

def ceil(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.ceil``, element by element."""

def clip(
    a: Any,
    a_min: Any = ...,
    a_max: Any = ...,
    out: Any = None,
    *,
    min: Any = ...,
    max: Any = ...,
    where: Any = True,
    dtype: Any = None,
    casting: str = "same_kind",
    order: str = "K",
    subok: bool = True,
) -> NDArray[Any]:
    """`a` limited to the range from `a_min` to `a_max`, either of which may be None."""

def conj(x: Any, out: Any = None) -> Any:
    """`x` itself, as the method of NumPy's real arrays gives it."""

def conjugate(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.conjugate``, element by element."""

def cos(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.cos``, element by element."""

def cosh(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.cosh``, element by element."""

def deg2rad(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.deg2rad``, element by element."""

def degrees(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.degrees``, element by element."""

def exp(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.exp``, element by element."""

def exp2(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.exp2``, element by element."""

def expm1(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.expm1``, element by element."""

def fabs(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.fabs``, element by element."""

def fix(x: Any, out: Any = None) -> Any:
    """`x` rounded toward zero."""

def floor(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.floor``, element by element."""

def frexp(
    x: ArrayLike,
    out1: NDArray[Any] | None = None,
    out2: NDArray[Any] | None = None,
    /,
    *,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """``numpy.frexp``, element by element."""

def imag(val: Any) -> Any:
    """Zeros, which NumPy lets nobody write: they are no part of `val`."""

def invert(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.invert``, element by element."""

bitwise_not = invert

def iscomplex(x: Any) -> Any:
    """``numpy.iscomplex``: False everywhere, as no traced array is complex."""

def isfinite(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.isfinite``, element by element."""

def isinf(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.isinf``, element by element."""

def isnan(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.isnan``, element by element."""

def isneginf(x: Any, out: Any = None) -> Any:
    """Where `x` is negative infinity."""

def isposinf(x: Any, out: Any = None) -> Any:
    """Where `x` is positive infinity."""

def isreal(x: Any) -> Any:
    """``numpy.isreal``: True everywhere, as no traced array is complex."""

def log(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.log``, element by element."""

def log10(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.log10``, element by element."""

def log1p(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.log1p``, element by element."""

def log2(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.log2``, element by element."""

def logical_not(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.logical_not``, element by element."""

def modf(
    x: ArrayLike,
    out1: NDArray[Any] | None = None,
    out2: NDArray[Any] | None = None,
    /,
    *,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """``numpy.modf``, element by element."""

def nan_to_num(
    x: Any,
    copy: bool = True,
    nan: Any = 0.0,
    posinf: Any = None,
    neginf: Any = None,
) -> Any:
    """`x` with NaN and infinities replaced, by default with 0 and the extremes.

    Raises:
        ValueError: `copy` is false, and `x` is a scalar, which cannot be written.
    """

def negative(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.negative``, element by element."""

def packbits(a: Any, /, axis: Any = None, bitorder: str = "big") -> Any:
    """Elements that are not zero as bits, eight to a byte; uint8."""

def positive(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.positive``, element by element."""

def rad2deg(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.rad2deg``, element by element."""

def radians(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.radians``, element by element."""

def real(val: Any) -> Any:
    """`val` itself: no traced array is complex."""

def real_if_close(a: Any, tol: float = 100) -> Any:
    """`a` itself, an array if it is a scalar: no traced array is complex."""

def reciprocal(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.reciprocal``, element by element."""

def rint(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.rint``, element by element."""

def round(a: Any, decimals: Any = 0, out: Any = None) -> Any:
    """`a` rounded to `decimals` places, halves to even."""

round_ = round

def sign(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.sign``, element by element."""

def signbit(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.signbit``, element by element."""

def sin(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.sin``, element by element."""

def sinc(x: Any) -> Any:
    """As ``numpy.sinc``."""

def sinh(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.sinh``, element by element."""

def spacing(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.spacing``, element by element."""

def sqrt(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.sqrt``, element by element."""

def square(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.square``, element by element."""

def tan(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.tan``, element by element."""

def tanh(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.tanh``, element by element."""

def trunc(
    x: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.trunc``, element by element."""

def unpackbits(
    a: Any,
    /,
    axis: Any = None,
    count: Any = None,
    bitorder: str = "big",
) -> Any:
    """The bits of bytes as elements 0 and 1; uint8."""
