"""Indexing: reads and stores by index, mask or choice.

Made from the records of ops by tools/generate_op_stubs.py; not to be edited.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> NDArray[Any]:
    """At each position, the element of the choice that `a` names there.

    Raises:
        TypeError: `a` is not an integer array.
        ValueError: the shapes do not broadcast, `out` has another one, or the mode is
            unknown.
    """

def compress(condition: Any, a: Any, axis: Any = None, out: Any = None) -> NDArray[Any]:
    """The slices along an axis where a static condition holds.

    Raises:
        NotImplementedError: the condition is traced.
    """

def diag_indices_from(arr: Any) -> tuple[np.ndarray, ...]:
    """Static indices of the main diagonal, as they depend on the shape."""

def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonal of two axes of `a`, as its last axis. A read-only view."""

def dynamic_update_slice(
    x: Any,
    update: Any,
    start_indices: Sequence[Any],
) -> NDArray[Any]:
    """A copy of `x` in which `update` stands from the start indices on.

    Args:
        x: an array.
        update: an array of as many dimensions, none of them larger; it is converted to
            the dtype of `x`.
        start_indices: of each axis an integer, which may be traced. A traced one that
            is out of range is moved into it, so that all of `update` is stored.

    Raises:
        ValueError: shapes or numbers of indices do not agree, or `update` does not fit
            where a static index puts it.
        TypeError: an index is no integer.
    """

def extract(condition: Any, arr: Any) -> NDArray[Any]:
    """The elements of the flattened array where a static condition holds.

    Raises:
        NotImplementedError: the condition is traced.
    """

def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    """Store `val`, repeated as necessary, on the main diagonal.

    Raises:
        ValueError: fewer than two axes; more than two of unequal length.
    """

def getitem(x: Any, index: Any) -> NDArray[Any]:
    """``x[index]``: a view for a basic index, else a new array.

    Raises:
        IndexError: an index out of range, too many, or of the wrong kind.
        NotImplementedError: the result's shape would depend on traced values.
    """

def ix_(*args: Any) -> tuple[Any, ...]:
    """1-D indices shaped so that they select a grid.

    Raises:
        ValueError: an index is not 1-D.
        NotImplementedError: it is a traced mask, whose number of trues is not known.
    """

def piecewise(
    x: Any,
    condlist: Any,
    funclist: Sequence[Any],
    *args: Any,
    **kw: Any,
) -> NDArray[Any]:
    """Each function's (or constant's) values where its condition holds.

    Raises:
        ValueError: neither as many functions as conditions, nor one more.
    """

def place(arr: Any, mask: Any, vals: Any) -> None:
    """Store `vals`, one after the other, where the mask holds.

    Raises:
        NotImplementedError: the mask is traced and there are several values.
        TypeError: the values are an array whose dtype cannot be cast safely.
        ValueError: the mask has another size, or there are no values.
    """

def put(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    """``a.flat[ind] = v``, with `v` repeated as necessary.

    Raises:
        IndexError: a static index is out of range.
        TypeError: the indices are not integers.
    """

def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any = -1) -> None:
    """Store `values` at `indices` along an axis, the other axes matched.

    Raises:
        ValueError: the ranks differ, or the values do not broadcast.
        IndexError: the indices are not integers, do not broadcast, or are out of range.
    """

def putmask(a: Any, mask: Any, values: Any) -> None:
    """``a.flat[i] = values[i % values.size]`` wherever the mask holds.

    Raises:
        TypeError: the values are an array whose dtype cannot be cast safely.
        ValueError: the mask has another size.
    """

def ravel_multi_index(
    multi_index: Any,
    dims: Any,
    mode: Any = "raise",
    order: str = "C",
) -> Any:
    """Indices of several axes as those into the flattened array, int32.

    Raises:
        ValueError: an array of that shape has more elements than int32 counts.
    """

def scatter_along_axis(
    x: Any,
    indices: Any,
    updates: Any,
    axis: int = 0,
) -> NDArray[Any]:
    """A copy of `x` with ``x[:, indices] = updates``, the indices being of one axis.

    Args:
        x: an array.
        indices: integers, in any shape; negative ones count from the end.
        updates: what is stored, converted to the dtype of `x` and broadcast to its
            shape with that of `indices` in the place of `axis`.
        axis: the axis.

    Raises:
        AxisError: there is no such axis.
        IndexError: a static index is out of range. A traced one is not stored.
        TypeError: the indices are no integers.
        ValueError: `updates` do not broadcast.
    """

def scatter_strided(
    x: Any,
    updates: Any,
    start_indices: Sequence[int],
    limit_indices: Sequence[int],
    strides: Sequence[int] | None = None,
) -> NDArray[Any]:
    """A copy of `x` with ``x[start:limit:stride, ...] = updates``.

    Args:
        x: an array.
        updates: what is stored, converted to the dtype of `x` and broadcast.
        start_indices, limit_indices: of each axis, ``0 <= start <= limit <= size``.
        strides: of each axis, positive; 1 by default.

    Raises:
        ValueError: the window is not within the array, or `updates` do not broadcast
            to its shape.
    """

def select(
    condlist: Sequence[Any],
    choicelist: Sequence[Any],
    default: Any = 0,
) -> NDArray[Any]:
    """From the first choice whose condition holds, else the default.

    Raises:
        ValueError: the lists differ in length or are empty.
        TypeError: a condition is not boolean.
    """

def setitem(x: Any, index: Any, value: Any) -> None:
    """``x[index] = value``, in place.

    Raises:
        IndexError: an index out of range, too many, or of the wrong kind.
        ValueError: the value does not broadcast to the indexed shape.
        OverflowError: a Python integer does not fit the dtype.
        NotImplementedError: a traced mask with one value for each selected element.
    """

def static_slice(
    x: Any,
    start_indices: Sequence[int],
    limit_indices: Sequence[int],
    strides: Sequence[int] | None = None,
) -> NDArray[Any]:
    """``x[start:limit:stride, ...]`` as a new array.

    Args:
        x: an array.
        start_indices, limit_indices: of each axis, ``0 <= start <= limit <= size``.
        strides: of each axis, positive; 1 by default.

    Raises:
        ValueError: the window is not within the array.
    """

def take(
    a: Any,
    indices: Any,
    axis: Any = None,
    out: Any = None,
    mode: str = "raise",
) -> NDArray[Any]:
    """Elements along an axis, or of the flattened array.

    Raises:
        AxisError: the axis is out of range.
        IndexError: a static index is out of range.
        TypeError: the indices are not integers.
    """

def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> NDArray[Any]:
    """``arr`` at `indices` along an axis, the other axes matched.

    Raises:
        ValueError: the ranks differ.
        IndexError: the indices are not integers, do not broadcast, or are out of range.
        AxisError: the axis is out of range.
    """

def tril_indices_from(arr: Any, k: int = 0) -> tuple[np.ndarray, ...]:
    """``numpy.tril_indices_from``: static index arrays, as they depend on the shape."""

def triu_indices_from(arr: Any, k: int = 0) -> tuple[np.ndarray, ...]:
    """``numpy.triu_indices_from``: static index arrays, as they depend on the shape."""

def unravel_index(indices: Any, shape: Any, order: str = "C") -> tuple[Any, ...]:
    """Indices into a flattened array as one array of int32 for each axis.

    Raises:
        ValueError: an array of that shape has more elements than int32 counts.
    """

def where(condition: Any, x: Any = ..., y: Any = ..., /) -> NDArray[Any]:
    """``x`` where the condition holds, else ``y``, in their common dtype.

    Raises:
        NotImplementedError: one argument; the shape would depend on values.
        ValueError: the shapes do not broadcast.
    """
