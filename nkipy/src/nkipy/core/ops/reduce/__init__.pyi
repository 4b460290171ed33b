"""Ops that combine the elements along axes, all at once or running.

Made from the records of ops by tools/generate_op_stubs.py; not to be edited.
"""

from typing import Any

from numpy.typing import NDArray

def all(
    a: Any,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = False,
    *,
    where: Any = True,
) -> NDArray[Any]:
    """``numpy.all``; NaN counts as true."""

def any(
    a: Any,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = False,
    *,
    where: Any = True,
) -> NDArray[Any]:
    """``numpy.any``; NaN counts as true."""

def argmax(
    a: Any,
    axis: Any = None,
    out: Any = None,
    *,
    keepdims: Any = False,
) -> NDArray[Any]:
    """``numpy.argmax``, as int32: the first maximum, or the first NaN."""

def argmin(
    a: Any,
    axis: Any = None,
    out: Any = None,
    *,
    keepdims: Any = False,
) -> NDArray[Any]:
    """``numpy.argmin``, as int32: the first minimum, or the first NaN."""

def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """``numpy.count_nonzero``, as int32."""

def cumprod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
) -> NDArray[Any]:
    """``numpy.cumprod``; bool and small integers combine in 32 bits."""

def cumsum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
) -> NDArray[Any]:
    """``numpy.cumsum``; bool and small integers combine in 32 bits."""

def cumulative_prod(
    x: Any,
    /,
    *,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    include_initial: bool = False,
) -> NDArray[Any]:
    """``numpy.cumulative_prod``; bool and small integers combine in 32 bits."""

def cumulative_sum(
    x: Any,
    /,
    *,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    include_initial: bool = False,
) -> NDArray[Any]:
    """``numpy.cumulative_sum``; bool and small integers combine in 32 bits."""

def max(
    a: Any,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = True,
) -> NDArray[Any]:
    """``numpy.max``; NaN if any element is."""

def mean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    *,
    where: Any = True,
) -> NDArray[Any]:
    """``numpy.mean``: float32 for integers; narrower floats are summed in float32."""

def min(
    a: Any,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = True,
) -> NDArray[Any]:
    """``numpy.min``; NaN if any element is."""

def nanargmax(
    a: Any,
    axis: Any = None,
    out: Any = None,
    *,
    keepdims: Any = False,
) -> NDArray[Any]:
    """``numpy.nanargmax``, as int32."""

def nanargmin(
    a: Any,
    axis: Any = None,
    out: Any = None,
    *,
    keepdims: Any = False,
) -> NDArray[Any]:
    """``numpy.nanargmin``, as int32."""

def nancumprod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
) -> NDArray[Any]:
    """``numpy.nancumprod``: NaN counts as 1."""

def nancumsum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
) -> NDArray[Any]:
    """``numpy.nancumsum``: NaN counts as 0."""

def nanmax(
    a: Any,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = True,
) -> NDArray[Any]:
    """``numpy.nanmax``: NaN only where all are."""

def nanmean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    *,
    where: Any = True,
) -> NDArray[Any]:
    """``numpy.nanmean``: NaN only where all are."""

def nanmedian(
    a: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    keepdims: Any = False,
) -> NDArray[Any]:
    """``numpy.nanmedian``: sorts, which moves NaN out of the way."""

def nanmin(
    a: Any,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = True,
) -> NDArray[Any]:
    """``numpy.nanmin``: NaN only where all are."""

def nanprod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = True,
) -> NDArray[Any]:
    """``numpy.nanprod``: NaN counts as 1."""

def nanstd(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = False,
    *,
    where: Any = True,
    mean: Any = ...,
    correction: Any = ...,
) -> NDArray[Any]:
    """``numpy.nanstd``: NaN of no more numbers than `ddof`."""

def nansum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = True,
) -> NDArray[Any]:
    """``numpy.nansum``: NaN counts as 0."""

def nanvar(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = False,
    *,
    where: Any = True,
    mean: Any = ...,
    correction: Any = ...,
) -> NDArray[Any]:
    """``numpy.nanvar``: NaN of no more numbers than `ddof`."""

def prod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = True,
) -> NDArray[Any]:
    """``numpy.prod``; bool and small integers combine in 32 bits."""

def std(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = False,
    *,
    where: Any = True,
    mean: Any = ...,
    correction: Any = ...,
) -> NDArray[Any]:
    """``numpy.std``, in two passes in float32."""

def sum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = True,
) -> NDArray[Any]:
    """``numpy.sum``; bool and small integers combine in 32 bits."""

def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1) -> NDArray[Any]:
    """``numpy.trapezoid``, in float32; integers are added before they are halved."""

def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = False,
    *,
    where: Any = True,
    mean: Any = ...,
    correction: Any = ...,
) -> NDArray[Any]:
    """``numpy.var``, in two passes in float32."""
