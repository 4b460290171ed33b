"""Shapes of arrays, which are known while tracing: answers are Python integers."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from nkipy.core.ops._registry import Op
from nkipy.core.tensor import as_operand

shape = Op("shape", numpy=np.shape)


ndim = Op("ndim", numpy=np.ndim)


size = Op("size", numpy=np.size)


def _shape_of(a: Any) -> tuple[int, ...]:
    a = as_operand(a)
    return a.shape if hasattr(a, "shape") else np.shape(a)


@shape.impl("hlo")
def _shape(a: Any) -> tuple[int, ...]:
    """The dimensions of `a`."""
    return _shape_of(a)


@ndim.impl("hlo")
def _ndim(a: Any) -> int:
    """The number of dimensions of `a`."""
    return len(_shape_of(a))


@size.impl("hlo")
def _size(a: Any, axis: Any = None) -> int:
    """The number of elements of `a`, or its extent along `axis`."""
    dims = _shape_of(a)
    axes = range(len(dims)) if axis is None else normalize_axis_tuple(axis, len(dims))
    return prod(dims[i] for i in axes)
