"""Element-wise ops of two operands.

Made from the records of ops by tools/generate_op_stubs.py; not to be edited.
"""

from typing import Any

from numpy.typing import ArrayLike, DTypeLike, NDArray

def add(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.add``, element by element."""

def arctan2(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.arctan2``, element by element."""

def bitwise_and(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.bitwise_and``, element by element."""

def bitwise_or(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.bitwise_or``, element by element."""

def bitwise_xor(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.bitwise_xor``, element by element."""

def copysign(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.copysign``, element by element."""

def divide(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.divide``, element by element."""

def divmod(
    x1: ArrayLike,
    x2: ArrayLike,
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
    """``numpy.divmod``, element by element."""

def equal(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.equal``, element by element."""

def float_power(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.float_power``, element by element."""

def floor_divide(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.floor_divide``, element by element."""

def fmax(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.fmax``, element by element."""

def fmin(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.fmin``, element by element."""

def fmod(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.fmod``, element by element."""

def gcd(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.gcd``, element by element."""

def greater(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.greater``, element by element."""

def greater_equal(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.greater_equal``, element by element."""

def heaviside(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.heaviside``, element by element."""

def hypot(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.hypot``, element by element."""

def lcm(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.lcm``, element by element."""

def ldexp(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.ldexp``, element by element."""

def left_shift(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.left_shift``, element by element."""

def less(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.less``, element by element."""

def less_equal(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.less_equal``, element by element."""

def logaddexp(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.logaddexp``, element by element."""

def logaddexp2(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.logaddexp2``, element by element."""

def logical_and(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.logical_and``, element by element."""

def logical_or(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.logical_or``, element by element."""

def logical_xor(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.logical_xor``, element by element."""

def maximum(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.maximum``, element by element."""

def minimum(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.minimum``, element by element."""

def multiply(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.multiply``, element by element."""

def nextafter(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.nextafter``, element by element."""

def not_equal(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.not_equal``, element by element."""

def polyval(p: Any, x: Any) -> Any:
    """``p[0] * x**(n - 1) + ... + p[n - 1]``, by Horner's rule.

    Raises:
        TypeError: `x` is a polynomial, which no array holds.
    """

def power(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.power``, element by element."""

def remainder(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.remainder``, element by element."""

mod = remainder

def right_shift(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.right_shift``, element by element."""

def subtract(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    out: NDArray[Any] | None | tuple[NDArray[Any] | None, ...] = None,
    *,
    where: ArrayLike = True,
    casting: str = "same_kind",
    order: str = "K",
    dtype: DTypeLike | None = None,
    subok: bool = True,
) -> NDArray[Any]:
    """``numpy.subtract``, element by element."""
