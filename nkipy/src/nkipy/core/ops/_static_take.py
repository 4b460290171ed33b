"""Elements along one dimension at indices that are known while tracing."""

from __future__ import annotations

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.hlo.builder import HLOBuilder, Value

#: From this many runs of equally spaced indices on, a gather is the shorter program.
_MAX_RUNS = 8
Run = tuple[int, int, int]


def take_static(b: HLOBuilder, x: Value, indices: np.ndarray, axis: int) -> Value:
    """``np.take(x, indices, axis)`` for 1-D `indices` within the dimension.

    Indices that make few runs are slices, which devices do better than gathers.
    """
    runs = _runs(np.asarray(indices, np.int64))
    if runs is None:
        return _gather(b, x, np.asarray(indices), axis)
    if not runs:
        return b.slice_dim(x, axis, 0, 0)
    return b.concatenate([_piece(b, x, run, axis) for run in runs], axis)


def _runs(indices: np.ndarray) -> list[Run] | None:
    """Runs as (start, step, count), or None if they are many."""
    steps, size = np.diff(indices), len(indices)
    runs: list[Run] = []
    i = 0
    while i < size:
        if len(runs) == _MAX_RUNS:
            return None
        step, count = 1, 1
        if i + 1 < size:
            step = int(steps[i])
            other = np.flatnonzero(steps[i:] != step)
            count = 1 + (int(other[0]) if len(other) else size - 1 - i)
            if count == 2 and abs(step) > 1:  # its second may begin a better run
                step, count = 1, 1
        runs.append((int(indices[i]), step, count))
        i += count
    return runs


def _piece(b: HLOBuilder, x: Value, run: Run, axis: int) -> Value:
    start, step, count = run
    last = start + step * (count - 1)
    if step == 0:
        shape = [count if i == axis else d for i, d in enumerate(x.shape)]
        return b.broadcast_to(b.slice_dim(x, axis, start, start + 1), shape)
    if step > 0:
        return b.slice_dim(x, axis, start, last + 1, step)
    return b.reverse(b.slice_dim(x, axis, last, start + 1, -step), (axis,))


def _gather(b: HLOBuilder, x: Value, indices: np.ndarray, axis: int) -> Value:
    others = tuple(i for i in range(x.ndim) if i != axis)
    return b.gather(
        x,
        b.constant(indices.reshape(-1, 1), dt.int32),
        offset_dims=others,
        collapsed_slice_dims=(axis,),
        start_index_map=(axis,),
        slice_sizes=[1 if i == axis else d for i, d in enumerate(x.shape)],
        indices_are_sorted=bool((np.diff(indices) >= 0).all()),
    )


def windows(
    b: HLOBuilder, x: Value, starts: np.ndarray, length: int, axis: int
) -> Value:
    """``x[..., start : start + length, ...]`` for each of `starts`, along `axis`.

    The result has one dimension more: the windows' number before their `length`.
    """
    shape = (*x.shape[:axis], len(starts), length, *x.shape[axis + 1 :])
    first, last = int(starts[0]), int(starts[-1]) + length
    if (np.diff(starts) == length).all():
        return b.reshape(b.slice_dim(x, axis, first, last), shape)
    return b.gather(
        x,
        b.constant(starts.reshape(-1, 1), dt.int32),
        offset_dims=tuple(i for i in range(len(shape)) if i != axis),
        collapsed_slice_dims=(),
        start_index_map=(axis,),
        slice_sizes=[length if i == axis else d for i, d in enumerate(x.shape)],
        indices_are_sorted=bool((np.diff(starts) >= 0).all()),
    )
