"""Indices along one axis, the other axes matched: one gather or scatter."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._static_take import take_static
from nkipy.core.ops.indexing._basic import is_uniform
from nkipy.core.ops.indexing._bounds import bounded
from nkipy.core.ops.indexing._last_stores import last_stores
from nkipy.core.tensor import NKIPyTensorRef, as_operand
from nkipy.hlo.builder import HLOBuilder, Value


class AlongAxis:
    """`indices` along `axis` of an array of `shape`, as NumPy's ``*_along_axis``.

    Axes on which the indices have size one are windows: the whole axis moves at once.
    On the others every position has an index of its own.

    Raises:
        ValueError: the ranks differ.
        IndexError: the indices are not integers, do not broadcast, or are out of range.
        AxisError: the axis is out of range.
    """

    def __init__(
        self, b: HLOBuilder, shape: tuple[int, ...], indices: Any, axis: int
    ) -> None:
        rank, axis = len(shape), operator.index(axis)
        if not -rank <= axis < rank:
            raise np.exceptions.AxisError(axis, rank)
        self.array = shape
        self.axis = axis = axis % rank
        index = _checked(b, indices, shape, axis)
        others = [i for i in range(rank) if i != axis]
        self.windows = [i for i in others if index.shape[i] == 1]
        self.points = [i for i in range(rank) if i not in self.windows]
        self.shape = tuple(
            shape[i] if i in self.windows else index.shape[i] for i in range(rank)
        )
        self.batch = tuple(self.shape[i] for i in self.points)
        self.index = index
        self.mapped = [i for i in self.points if i == axis or shape[i] != 1]

    def read(self, b: HLOBuilder, x: Value) -> Value:
        """The elements, in the shape that the indices and the array broadcast to."""
        if 0 in self.shape:
            return b.full(self.shape, 0, x.dtype)
        sizes = [1 if i in self.points else d for i, d in enumerate(self.array)]
        return b.gather(
            x,
            self._vectors(b),
            offset_dims=self.windows,
            collapsed_slice_dims=self.points,
            start_index_map=self.mapped,
            slice_sizes=sizes,
        )

    def write(self, b: HLOBuilder, x: Value, values: Value) -> Value:
        """`x` after storing `values`, of this object's shape."""
        if 0 in self.shape:
            return x
        return b.scatter(
            x,
            self._vectors(b),
            self._without_conflicts(b, values),
            update_window_dims=self.windows,
            inserted_window_dims=self.points,
            scatter_dims_to_operand_dims=self.mapped,
        )

    def _vectors(self, b: HLOBuilder) -> Value:
        shape = (*self.batch, 1)
        columns = []
        for i in self.mapped:
            if i != self.axis:
                columns.append(b.iota(shape, self.points.index(i)))
                continue
            index = self.index
            if isinstance(index, np.ndarray):
                index = b.constant(index.astype(np.int32))
            columns.append(b.reshape(index, shape))
        return b.concatenate(columns, len(self.batch))

    def _without_conflicts(self, b: HLOBuilder, values: Value) -> Value:
        """`values` in a form for which static indices may be stored in any order."""
        if not isinstance(self.index, np.ndarray):
            return values
        last = last_stores(self._targets(self.index))
        if last is None or is_uniform(values):
            return values
        order = (*self.points, *self.windows)
        moved = b.transpose(values, order)
        rows = b.reshape(moved, (last.size, *(self.shape[i] for i in self.windows)))
        chosen = b.reshape(take_static(b, rows, last, 0), moved.shape)
        return b.transpose(chosen, tuple(np.argsort(order).tolist()))

    def _targets(self, index: np.ndarray) -> np.ndarray:
        """Numbers the element, or window, that each position of the batch is about."""
        positions = zip(self.points, np.indices(self.batch))
        coordinates = [c if i in self.mapped else c * 0 for i, c in positions]
        coordinates[self.points.index(self.axis)] = index.reshape(self.batch)
        sizes = [self.array[i] for i in self.points]
        return np.ravel_multi_index(coordinates, sizes).ravel()


def _checked(
    b: HLOBuilder, indices: Any, shape: tuple[int, ...], axis: int
) -> np.ndarray | Value:
    indices = as_operand(indices)
    if not isinstance(indices, NKIPyTensorRef):
        indices = np.asarray(indices)
    if not dt.is_integer(indices.dtype):
        raise IndexError("`indices` must be an integer array")
    if indices.ndim != len(shape):
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    for i, (d, n) in enumerate(zip(indices.shape, shape)):
        if i != axis and d != n and d != 1 and n != 1:
            raise IndexError(
                "shape mismatch: indices could not be broadcast together with the "
                f"array, with shapes {indices.shape} and {shape}"
            )
    return bounded(b, indices, shape[axis], "raise")
