"""Array creation: from values, ranges and diagonals.

Made from the records of ops by tools/generate_op_stubs.py; not to be edited.
"""

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike, DTypeLike, NDArray

def constant(value: ArrayLike, dtype: DTypeLike | None = None) -> NDArray[Any]:
    """`value`, a scalar, list or array, as a traced array; a traced one as it is.

    Args:
        value: what the array holds.
        dtype: its dtype; by default that of `value`, narrowed to 32 bits.

    Raises:
        OverflowError: an integer does not fit the dtype.
    """

def diag(v: Any, k: int = 0) -> Any:
    """A matrix with `v` on its k-th diagonal; or of a matrix, that diagonal."""

def diagflat(v: Any, k: int = 0) -> Any:
    """A matrix with the elements of `v`, in order, on its k-th diagonal."""

def empty_like(
    a: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> NDArray[Any]:
    """An array of the shape and dtype of another that holds 0."""

def filled(
    shape: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "C",
    *,
    device: Any = None,
) -> Any:
    """A traced array that holds `fill_value` everywhere, in its dtype by default."""

def full(
    shape: int | Sequence[int],
    fill_value: ArrayLike,
    dtype: DTypeLike = ...,
    order: str = "C",
    *,
    device: str | None = None,
) -> NDArray[Any]:
    """A traced array that holds `fill_value` everywhere.

    Args:
        shape: an int or a sequence of ints.
        fill_value: a number, or an array (traced ones too) that broadcasts to `shape`.
        dtype: its dtype, by default float32.

    Raises:
        OverflowError: an integer does not fit the dtype.
    """

def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> NDArray[Any]:
    """An array of the shape and dtype of `a` that holds `fill_value`."""

def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """`num` evenly spaced values from `start` to `stop`, along a new axis.

    Raises:
        ValueError: `num` is negative, or the ends do not broadcast.
    """

def meshgrid(
    *xi: Any,
    copy: bool = True,
    sparse: bool = False,
    indexing: str = "xy",
) -> tuple[NDArray[Any], ...]:
    """Coordinate arrays of a grid, from the coordinates along each axis."""

def ones_like(
    a: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> NDArray[Any]:
    """An array of the shape and dtype of another that holds 1."""

def tril(m: Any, k: int = 0) -> Any:
    """`m` with zeros above the k-th diagonal of its last two dimensions."""

def triu(m: Any, k: int = 0) -> Any:
    """`m` with zeros below the k-th diagonal of its last two dimensions."""

def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """The matrix whose columns are the powers of `x`."""

def zeros(
    shape: int | Sequence[int],
    dtype: DTypeLike = ...,
    order: str = "C",
    *,
    device: str | None = None,
) -> NDArray[Any]:
    """A traced array of zeros.

    Args:
        shape: an int or a sequence of ints.
        dtype: its dtype, by default float32.
    """

def zeros_like(
    a: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> NDArray[Any]:
    """An array of the shape and dtype of another that holds 0."""
