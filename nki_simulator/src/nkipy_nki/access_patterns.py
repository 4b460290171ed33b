"""Access patterns: strides and counts over a tensor's bytes, as hardware has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NoReturn, TypeVar

from nkipy_nki.dtypes import DTypeRecord, find_dtype
from nkipy_nki.gathering import add_index, run_time_index, vector_of
from nkipy_nki.program import Dynamic, View
from nkipy_nki.running import whole_number
from nkipy_nki.views import axis_of, derive, out_of_bounds, refuse, require_bits

V = TypeVar("V", bound=View)

__all__ = ["access", "pattern_of"]


def pattern_of(view: View) -> list[list[int]]:
    """``[stride, count]`` of each dimension."""
    return [[stride, count] for stride, count in zip(view.strides, view.shape)]


def access(
    view: V,
    pattern: Sequence[Sequence[int]],
    offset: int | None = None,
    scalar_offset: Any = None,
    vector_offset: Any = None,
    indirect_dim: int = 0,
    dtype: Any = None,
) -> V:
    """A view of a tensor's bytes by strides and counts, whatever `view` shows of them.

    Args:
        view: whose tensor it is. The pattern begins where it does.
        pattern: ``[stride, count]`` of each dimension, in elements. On the chip, the
            first stride is the number of elements of a partition.
        offset: in elements, added to where `view` begins.
        scalar_offset: a register, or a tensor of one element: the index along
            `indirect_dim` of `view` where the pattern begins.
        vector_offset: in HBM, a tile of such indices, one for each index of the first
            dimension, whose stride they replace.
        indirect_dim: a dimension of `view`.
        dtype: what the bytes are read as; strides and offset are in its elements.
    """
    record = view.dtype if dtype is None else find_dtype(dtype)
    pairs = _pairs(view, pattern)
    what = f"ap({[list(pair) for pair in pairs]})"
    require_bits(view, record, what)
    record = view.dtype if record == view.dtype else record
    _require_pattern(view, pairs, what)
    strides, shape = [list(numbers) for numbers in zip(*pairs)]
    start = _in(record, view, view.offset, what)
    if offset is not None:
        start += whole_number(offset, f"{what}: offset")
    if view.region.is_on_chip:
        _require_partitions(view, record, start, strides, shape, what)
    if scalar_offset is not None and vector_offset is not None:
        refuse(view, what, "either scalar_offset or vector_offset, and not both")
    free = shape if vector_offset is None else [1, *shape[1:]]
    _require_inside(view, record, start, strides, free, what)
    if scalar_offset is None and vector_offset is None:
        return derive(view, start, shape, strides, dtype=record, dynamic=None)
    axis = axis_of(view, indirect_dim, what)
    step = _in(record, view, view.strides[axis], what)
    if scalar_offset is not None:
        dynamic = _scalar(view, scalar_offset, what)
    else:
        dynamic = _vector(view, vector_offset, axis, shape[0], what)
        strides[0] = step
    limit = _limit(view, record, axis, start, step, strides, shape)
    dynamic = replace(dynamic, step=step, limit=limit)
    return add_index(view, start, shape, strides, dynamic, before=None, dtype=record)


def _pairs(view: View, pattern: Any) -> list[tuple[int, ...]]:
    """Strides and counts that a kernel gives."""
    what = f"ap({pattern!r})"
    if isinstance(pattern, (tuple, list)):
        if all(isinstance(pair, (tuple, list)) for pair in pattern):
            return [
                tuple(whole_number(n, f"{what}: a stride or count") for n in pair)
                for pair in pattern
            ]
    refuse(view, what, "a pattern is [stride, count] of each dimension")


def _require_pattern(view: View, pairs: list[tuple[int, ...]], what: str) -> None:
    if view.dynamic is not None:
        refuse(view, what, "a view with an index at run time has no access pattern")
    if not pairs or any(len(pair) != 2 for pair in pairs):
        refuse(view, what, "a pattern is [stride, count] of each dimension")
    if view.region.is_on_chip and len(pairs) < 2:
        refuse(view, what, "a pattern on the chip has at least two dimensions")
    for stride, count in pairs:
        if stride < 0:
            refuse(view, what, f"[{stride}, {count}]: a stride must not be negative")
        if count < 1:
            refuse(view, what, f"[{stride}, {count}]: a count must be positive")


def _in(record: DTypeRecord, view: View, number: int, what: str) -> int:
    """A number of elements of a view in those of another type."""
    scaled, rest = divmod(number * view.dtype.itemsize, record.itemsize)
    if rest:
        refuse(view, what, f"{number} elements are no whole number of {record}")
    return scaled


def _partition_size(view: View, record: DTypeRecord) -> int:
    return view.allocation.stored_partition_bytes // record.itemsize


def _require_partitions(
    view: View,
    record: DTypeRecord,
    start: int,
    strides: list[int],
    shape: list[int],
    what: str,
) -> None:
    """The first dimension must be that of partitions, and the others stay in one."""
    size = _partition_size(view, record)
    if strides[0] != size:
        if shape[0] != 1:
            refuse(
                view,
                what,
                f"the first stride is {strides[0]}, and must be {size}, the elements "
                f"of a partition as {record}",
            )
        strides[0] = size
    last = start % size + _span(strides[1:], shape[1:])
    if start >= 0 and last >= size:
        why = f"element {last} of a partition, which has {size}"
        _beyond(view, what, last, size, why, shape)


def _span(strides: Sequence[int], shape: Sequence[int]) -> int:
    """How far the last element is from the first."""
    return sum(stride * (count - 1) for stride, count in zip(strides, shape))


def _require_inside(
    view: View,
    record: DTypeRecord,
    start: int,
    strides: list[int],
    shape: list[int],
    what: str,
) -> None:
    size = view.allocation.nbytes // record.itemsize
    last = start + _span(strides, shape)
    if start < 0 or last >= size:
        value = start if start < 0 else last
        why = f"element {value}, and there are {size}"
        _beyond(view, what, value, size, why, shape if start >= 0 else [1] * len(shape))


def _beyond(
    view: View, what: str, value: int, size: int, why: str, shape: Sequence[int]
) -> NoReturn:
    """Report the pattern's last element, which is out of bounds."""
    position = [count - 1 for count in shape]
    why = f"its element {position} is {why}"
    out_of_bounds(view, what, value, size, why, position=position)


def _scalar(view: View, given: Any, what: str) -> Dynamic:
    found = run_time_index(view, given, what)
    if isinstance(found, View) and found.size != 1:
        shape = list(found.shape)
        refuse(view, what, f"scalar_offset has the shape {shape}: it must be of one")
    return Dynamic(found, 1, 1)


def _vector(view: View, given: Any, axis: int, count: int, what: str) -> Dynamic:
    found = vector_of(view, given, what)
    if view.region.is_on_chip or axis != 0:
        refuse(view, what, "vector_offset is of dim 0 of a tensor in HBM")
    rows, columns = found.shape[0], found.free_size
    if rows * columns < count or (columns == 1 and rows != count):
        problem = f"vector_offset has the shape {list(found.shape)}"
        refuse(view, what, f"{count} indices are needed, and {problem}")
    return Dynamic(found, 1, 1, axis=0)


def _limit(
    view: View,
    record: DTypeRecord,
    axis: int,
    start: int,
    step: int,
    strides: list[int],
    shape: list[int],
) -> int:
    """How many indices lead to elements of the tensor; on the chip, of a partition."""
    if view.region.is_on_chip and axis > 0:
        size = _partition_size(view, record)
        room = size - 1 - start % size - _span(strides[1:], shape[1:])
        return room // step + 1 if step else 1
    if axis > 0:
        return view.shape[axis]
    size = view.allocation.nbytes // record.itemsize
    return -(-(size - start) // step) if step else 1
