"""Where the elements of a view lie among the elements of its tensor.

What looks at a view's elements, or at what is kept for each of them, finds them by one
of these functions.
"""

from __future__ import annotations

import numpy as np

from nkipy_nki.program import View

__all__ = ["along", "element_offsets", "elements_in"]


def elements_in(
    table: np.ndarray,
    view: View,
    shift: int = 0,
    dtype: np.dtype | None = None,
    per: int = 1,
) -> np.ndarray:
    """What a table has for each element of a view, in place.

    Args:
        table: `per` entries for each element of the view's tensor, as it is stored; of
            one dimension.
        view: whose dynamic index is left out.
        shift: elements by which the view is put further.
        dtype: of entries; None is that of `table`.
        per: entries of an element. If there are several, they are a last dimension.

    Raises:
        ValueError, TypeError: the view leaves the table.
    """
    dtype = dtype or table.dtype
    shape, size = view.shape, dtype.itemsize * per
    strides = tuple([s * size for s in view.strides])
    if per > 1:
        shape, strides = (*shape, per), (*strides, dtype.itemsize)
    return np.ndarray(shape, dtype, table, (view.offset + shift) * size, strides)


def element_offsets(view: View) -> np.ndarray:
    """The offset of each element in the view's tensor, dynamic indices as if 0.

    Returns:
        Whole numbers, of the view's shape, in elements of its dtype.
    """
    indexed = () if view.dynamic is None else view.dynamic.axes
    offsets = np.asarray(view.offset)
    for axis, (count, stride) in enumerate(zip(view.shape, view.strides)):
        steps = np.zeros(count, int) if axis in indexed else np.arange(count) * stride
        offsets = offsets[..., None] + steps
    return offsets


def along(values: np.ndarray, axis: int, ndim: int) -> np.ndarray:
    """Values along one axis of so many."""
    return values.reshape([-1 if a == axis else 1 for a in range(ndim)])
