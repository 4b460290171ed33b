"""An index fit for an array of a few elements along each axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._memory_order import LONGEST
from nkipy.core.tensor import NKIPyTensorRef, as_operand

Shape = tuple[int, ...]


def modelled_index(shape: Shape, index: Any) -> tuple[Any, ...]:
    """`index`, of an array of `shape`, for one whose axes are at most LONGEST.

    It selects as many elements of each axis, or LONGEST. Where arrays point to does not
    matter: they stand for zeros.
    """
    entries = [_plain(e) for e in (index if isinstance(index, tuple) else (index,))]
    named = sum(map(_axes_of, entries))
    modelled: list[Any] = []
    axis = 0
    for entry in entries:
        if entry is Ellipsis:
            axis += len(shape) - named
        modelled.extend(_modelled(entry, shape[axis : axis + 1]))
        axis += _axes_of(entry)
    return tuple(modelled)


def _plain(entry: Any) -> Any:
    if entry is None or entry is Ellipsis or isinstance(entry, (slice, int)):
        return entry
    array = as_operand(entry)
    if isinstance(array, np.ndarray) and not array.size and array.dtype.kind == "f":
        return array.astype(np.int64)  # of an empty list
    return array


def _axes_of(entry: Any) -> int:
    if entry is None or entry is Ellipsis:
        return 0
    return entry.ndim if getattr(entry, "dtype", None) == dt.bool_ else 1


def _modelled(entry: Any, sizes: Shape) -> tuple[Any, ...]:
    if isinstance(entry, slice):
        return (_short_slice(entry, *sizes),)
    if isinstance(entry, (int, np.integer)):
        return (0,)
    if isinstance(entry, np.ndarray) and entry.dtype == np.bool_:
        return entry.nonzero()
    if isinstance(entry, NKIPyTensorRef) and not entry.shape:
        return (np.zeros((), np.int64),)  # a scalar of NumPy's would give a view
    return (entry,)


def _short_slice(entry: slice, size: int) -> slice:
    bounds = entry.start, entry.stop, entry.step
    if any(isinstance(as_operand(b), NKIPyTensorRef) for b in bounds if b is not None):
        return slice(None)  # its length is known, but not here
    start, stop, step = entry.indices(size)
    taken = min(len(range(start, stop, step)), LONGEST)
    if step > 0 or not taken:
        return slice(0, taken)
    return slice(taken - 1, None, -1)
