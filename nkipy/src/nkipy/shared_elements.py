"""Whether elements of an array lie in the same memory, as an outsider may make them."""

from __future__ import annotations

import numpy as np

__all__ = ["has_shared_elements"]


def has_shared_elements(array: np.ndarray) -> bool:
    """Whether two elements of an array share a byte.

    That is so of ``broadcast_to``, torch's ``expand`` and overlapping windows.
    """
    if array.flags.forc or array.size < 2:
        return False
    axes = [(abs(s), n) for s, n in zip(array.strides, array.shape) if n > 1]
    end = array.itemsize
    for stride, count in sorted(axes):
        if stride < end:
            break
        end += stride * (count - 1)
    else:
        return False  # each axis steps over all that those before it reach
    extent = array.itemsize + sum(stride * (count - 1) for stride, count in axes)
    if array.nbytes > extent:
        return True
    reached = np.zeros(extent, bool)
    shape = [n for _, n in axes] + [array.itemsize]
    strides = [s for s, _ in axes] + [1]
    np.lib.stride_tricks.as_strided(reached, shape, strides)[...] = True
    return int(np.count_nonzero(reached)) < array.nbytes
