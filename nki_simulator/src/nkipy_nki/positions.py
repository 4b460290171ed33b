"""Where the elements of a view lie among the elements of its tensor.

All that looks at a view's elements, or at what is kept for each of them, finds them by
these two functions.
"""

from __future__ import annotations

import numpy as np

from nkipy_nki.program import View

__all__ = ["along", "elements_in", "places_of"]


def elements_in(
    table: np.ndarray, view: View, per: int = 1, shift: int = 0
) -> np.ndarray:
    """What a table has for each element of a view, in place.

    Args:
        table: `per` entries for each element of the view's tensor, in order, as it is
            stored; of one dimension.
        view: whose dynamic index is left out.
        per: entries of an element. If there are several, they are a last dimension.
        shift: elements by which the view is put further.

    Raises:
        ValueError: the view leaves the table.
    """
    size = table.itemsize * per
    shape, strides = view.shape, tuple([s * size for s in view.strides])
    if per > 1:
        shape, strides = (*shape, per), (*strides, table.itemsize)
    start = (view.offset + shift) * size
    return np.ndarray(shape, table.dtype, table, start, strides)


def places_of(view: View) -> np.ndarray:
    """The place of each element among those of its tensor; indices count as 0."""
    indexed = () if view.dynamic is None else view.dynamic.axes
    places = np.asarray(view.offset)
    for axis, (count, stride) in enumerate(zip(view.shape, view.strides)):
        steps = np.arange(count) * (0 if axis in indexed else stride)
        places = places + along(steps, axis, len(view.shape))
    return places


def along(values: np.ndarray, axis: int, ndim: int) -> np.ndarray:
    """Values along one axis of so many."""
    return values.reshape([-1 if a == axis else 1 for a in range(ndim)])
