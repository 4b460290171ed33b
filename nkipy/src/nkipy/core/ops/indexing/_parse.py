"""Reads an index as NumPy does: which part of each axis, and in what order.

Everything that NumPy raises for a static index is raised here, before any instruction
is emitted.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, leaked
from nkipy.core.ops.indexing._linear import span_between
from nkipy.core.tensor import NKIPyTensorRef, as_operand
from nkipy.hlo.ir import HLOInstruction

Value = HLOInstruction

INVALID_INDEX = (
    "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer "
    "or boolean arrays are valid indices"
)
_BOOLEAN_SCALAR = (
    "Boolean scalar indexing is not supported; use np.where to choose between values, "
    "or an index of None for a new axis"
)
_DYNAMIC_SLICE = (
    "a slice with traced bounds needs a length that is known while tracing: write it "
    "as a[t:t + 4], with one traced start and the same plus a constant as stop. To "
    "select by a traced bound, mask instead: np.where(np.arange(n) < t, a, 0)"
)


class Window(NamedTuple):
    """What a basic index takes of one axis: every `stride`-th of `size` elements.

    Attributes:
        low: first element of the window; 0 if it is traced.
        size: elements from the first to the last taken one, both included.
        stride: distance of the taken elements, positive.
        taken: number of taken elements.
        reverse: take them in descending order.
        keep: False for an integer, which drops the axis.
        start: traced first element (negative ones count from the end), or None.
    """

    low: int
    size: int
    stride: int
    taken: int
    reverse: bool = False
    keep: bool = True
    start: Value | None = None


class Advanced(NamedTuple):
    """An integer array as index of one axis: static and in range, or traced."""

    axis: int
    array: np.ndarray | Value


class Mask(NamedTuple):
    """A traced boolean array that selects among `mask.ndim` axes from `axis` on."""

    axis: int
    mask: Value


#: Entries of an order that are not an axis.
NEW_AXIS = -1
SEPARATOR = -2


class ParsedIndex:
    """An index applied to a shape.

    Attributes:
        shape: the indexed array's.
        windows: one for each axis; whole for axes with an advanced index.
        order: axes as the index names them, NEW_AXIS for None, SEPARATOR for an
            Ellipsis, which separates advanced indices even if it stands for no axis.
        advanced: integer arrays, by axis.
        masks: traced boolean arrays.
        scalar: NumPy would give a scalar, or a copy, rather than a view.
    """

    def __init__(self, shape: tuple[int, ...], windows: list[Window]) -> None:
        self.shape = shape
        self.windows = windows
        self.order: list[int] = []
        self.advanced: list[Advanced] = []
        self.masks: list[Mask] = []
        self.scalar = False

    @property
    def is_basic(self) -> bool:
        return not self.advanced and not self.masks

    @property
    def key(self) -> Any:
        """Equal for two basic indices that select the same elements."""
        return tuple(self.windows), tuple(self.order)


def parse_index(
    ctx: HLOTraceContext, shape: tuple[int, ...], index: Any
) -> ParsedIndex:
    """`index` applied to an array of `shape`.

    Raises:
        IndexError: too many indices, one out of range, a mask of another shape, or
            something that is no index.
        NotImplementedError: boolean scalars; traced slice bounds of unknown distance.
    """
    entries = list(index) if isinstance(index, tuple) else [index]
    entries = _expand_arrays(ctx, entries)
    entries = _expand_ellipsis(entries, len(shape))
    parsed = ParsedIndex(shape, [])
    for entry in entries:
        _place(ctx, parsed, entry)
    parsed.scalar = _gives_scalar(parsed, entries)
    if len(parsed.advanced) == 1 and not parsed.masks:
        _try_as_slice(parsed)
    return parsed


# -- what each entry is ----------------------------------------------------------------
def _expand_arrays(ctx: HLOTraceContext, entries: list[Any]) -> list[Any]:
    """Array-likes as arrays or instructions; static masks as their coordinates."""
    for entry in entries:
        if type(entry) is not int and type(entry) is not slice:
            break
    else:
        return entries
    expanded: list[Any] = []
    for entry in entries:
        kind = type(entry)
        if kind is int or kind is slice or entry is None or entry is Ellipsis:
            expanded.append(entry)
        else:
            expanded.extend(_as_index_arrays(ctx, entry))
    return expanded


class _StaticMask(NamedTuple):
    """A concrete mask, whose coordinates are known once its axes are."""

    mask: np.ndarray


def _as_index_arrays(ctx: HLOTraceContext, entry: Any) -> list[Any]:
    if isinstance(entry, slice):
        return [entry]
    if isinstance(entry, (bool, np.bool_)):
        raise NotImplementedError(_BOOLEAN_SCALAR)
    if isinstance(entry, (int, np.integer)):
        return [int(entry)]
    if isinstance(entry, (list, tuple)) and not entry:
        return [np.zeros(np.shape(entry), np.int64)]
    array = as_operand(entry)
    if isinstance(array, NKIPyTensorRef):
        return [_traced_index(ctx, array)]
    if isinstance(array, np.ndarray):
        return [_static_index(array, is_list=not isinstance(entry, np.ndarray))]
    try:
        return [operator.index(array)]
    except TypeError:
        raise IndexError(INVALID_INDEX) from None


def _traced_index(ctx: HLOTraceContext, tensor: NKIPyTensorRef) -> Any:
    if tensor._ctx is not ctx:
        raise leaked(tensor)
    value = tensor.backend_tensor
    if value.opcode == "constant":
        return _static_index(value.attributes["literal"])
    if value.dtype == dt.bool_:
        if not value.shape:
            raise NotImplementedError(_BOOLEAN_SCALAR)
    elif not dt.is_integer(value.dtype):
        raise IndexError(f"{INVALID_INDEX}, but received {value.dtype}")
    return value


def _static_index(array: np.ndarray, is_list: bool = False) -> Any:
    if is_list and array.size == 0:
        array = array.astype(np.int64)
    if array.dtype == np.bool_:
        if not array.shape:
            raise NotImplementedError(_BOOLEAN_SCALAR)
        return _StaticMask(np.asarray(array))
    if array.dtype.kind not in "iu":
        raise IndexError(f"{INVALID_INDEX}, but received {array.dtype}")
    # A 0-d array acts as an integer, save that the result is a copy.
    return np.asarray(array, np.int64)


def _axes_of(entry: Any) -> int:
    if entry is None or entry is Ellipsis:
        return 0
    if isinstance(entry, _StaticMask):
        return entry.mask.ndim
    if isinstance(entry, HLOInstruction) and entry.dtype == dt.bool_:
        return entry.ndim
    return 1


_WHOLE = slice(None)


def _expand_ellipsis(entries: list[Any], ndim: int) -> list[Any]:
    consumed = ellipses = 0
    for entry in entries:
        consumed += _axes_of(entry)
        ellipses += entry is Ellipsis
    if ellipses > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    if consumed > ndim:
        raise IndexError(
            f"too many indices for array: array is {ndim}-dimensional, but {consumed} "
            "were indexed"
        )
    rest = [_WHOLE] * (ndim - consumed)
    if not ellipses:
        return entries + rest
    at = next(i for i, e in enumerate(entries) if e is Ellipsis)
    return [*entries[: at + 1], *rest, *entries[at + 1 :]]


# -- entries to windows and arrays -----------------------------------------------------
def _place(ctx: HLOTraceContext, parsed: ParsedIndex, entry: Any) -> None:
    axis = len(parsed.windows)
    if entry is None:
        parsed.order.append(NEW_AXIS)
        return
    if entry is Ellipsis:
        parsed.order.append(SEPARATOR)
        return
    size = parsed.shape[axis]
    if type(entry) is int:
        window = Window(_in_range(entry, axis, size), 1, 1, 1, keep=False)
    elif type(entry) is slice:
        window = _slice_window(ctx, entry, size)
    else:
        _place_array(parsed, entry, axis, size)
        return
    parsed.windows.append(window)
    parsed.order.append(axis)


def _place_array(parsed: ParsedIndex, entry: Any, axis: int, size: int) -> None:
    if isinstance(entry, _StaticMask):
        _check_mask(entry.mask.shape, parsed.shape, axis)
        for coordinates in entry.mask.nonzero():
            _place_array(parsed, coordinates, len(parsed.windows), size)
        return
    if not entry.shape:  # an integer, static or traced
        parsed.windows.append(_integer_window(entry, axis, size))
        parsed.order.append(axis)
        return
    taken = 1
    if isinstance(entry, np.ndarray):
        parsed.advanced.append(
            Advanced(axis, _checked(entry, axis, parsed.shape[axis]))
        )
    elif entry.dtype == dt.bool_:
        _check_mask(entry.shape, parsed.shape, axis)
        parsed.masks.append(Mask(axis, entry))
        taken = entry.ndim
    else:
        parsed.advanced.append(Advanced(axis, entry))
    for i in range(axis, axis + taken):
        parsed.windows.append(whole_window(parsed.shape[i]))
        parsed.order.append(i)


def whole_window(size: int) -> Window:
    """All elements of an axis."""
    return Window(0, size, 1, size)


def _integer_window(entry: Any, axis: int, size: int) -> Window:
    if isinstance(entry, np.ndarray):
        return Window(_in_range(int(entry), axis, size), 1, 1, 1, keep=False)
    if not size:
        raise IndexError(f"index out of bounds for axis {axis} with size 0")
    return Window(0, 1, 1, 1, keep=False, start=entry)


def _in_range(index: int, axis: int, size: int) -> int:
    if -size <= index < size:
        return index + size if index < 0 else index
    raise IndexError(f"index {index} is out of bounds for axis {axis} with size {size}")


def _checked(array: np.ndarray, axis: int, size: int) -> np.ndarray:
    """`array` with negative indices counted from the end, all in range."""
    if not array.size:
        return array
    low, high = int(array.min()), int(array.max())
    _in_range(high, axis, size)
    _in_range(low, axis, size)
    return np.where(array < 0, array + size, array) if low < 0 else array


def _check_mask(mask: tuple[int, ...], shape: tuple[int, ...], axis: int) -> None:
    for i, d in enumerate(mask):
        if d != shape[axis + i]:
            raise IndexError(
                "boolean index did not match indexed array along axis "
                f"{axis + i}; size of axis is {shape[axis + i]} but size of "
                f"corresponding boolean axis is {d}"
            )


# -- slices ----------------------------------------------------------------------------
def _slice_window(ctx: HLOTraceContext, entry: slice, size: int) -> Window:
    if entry.start is None and entry.stop is None and entry.step is None:
        return Window(0, size, 1, size)
    if _is_traced(entry.start) or _is_traced(entry.stop) or _is_traced(entry.step):
        return _dynamic_window(ctx, entry, size)
    start, stop, step = entry.indices(size)
    return progression(start, step, len(range(start, stop, step)))


def progression(start: int, step: int, count: int) -> Window:
    """The window of `count` elements from `start` on, `step` apart."""
    if count == 0:
        return Window(0, 0, 1, 0)
    if count == 1:
        return Window(start, 1, 1, 1)
    if step > 0:
        return Window(start, (count - 1) * step + 1, step, count)
    low = start + step * (count - 1)
    return Window(low, start - low + 1, -step, count, reverse=True)


def _is_traced(bound: Any) -> bool:
    return not isinstance(bound, (int, type(None))) and isinstance(
        as_operand(bound), NKIPyTensorRef
    )


def _dynamic_window(ctx: HLOTraceContext, entry: slice, size: int) -> Window:
    step = 1 if entry.step is None else entry.step
    if entry.start is None or entry.stop is None or _is_traced(step):
        raise NotImplementedError(_DYNAMIC_SLICE)
    step = operator.index(step)
    start, stop = _bound(ctx, entry.start), _bound(ctx, entry.stop)
    span = span_between(start, stop)
    if span is None or step <= 0 or not isinstance(start, HLOInstruction):
        raise NotImplementedError(_DYNAMIC_SLICE)
    if span <= 0:
        return Window(0, 0, 1, 0)
    if span > size:
        raise IndexError(
            f"a slice of {span} elements with a traced start is out of bounds for an "
            f"axis of size {size}"
        )
    count = -(-span // step)
    return Window(0, (count - 1) * step + 1, step, count, start=start)


def _bound(ctx: HLOTraceContext, bound: Any) -> Value | int:
    bound = as_operand(bound)
    if not isinstance(bound, NKIPyTensorRef):
        return operator.index(bound)
    value = _traced_index(ctx, bound)
    if not isinstance(value, HLOInstruction):
        return operator.index(value)
    if value.shape or not dt.is_integer(value.dtype):
        raise TypeError(
            "slice indices must be integers or 0-d integer arrays, but received "
            f"{value.shape_text()}"
        )
    return value


# -- the whole index -------------------------------------------------------------------
def _gives_scalar(parsed: ParsedIndex, entries: list[Any]) -> bool:
    """Whether NumPy gives a scalar or a copy: only integers, or a 0-d array."""
    all_dropped = not any(w.keep for w in parsed.windows)
    added = (NEW_AXIS, SEPARATOR)
    if all_dropped and parsed.is_basic and not any(a in parsed.order for a in added):
        return True
    # A parameter that is a 0-d array; a computed 0-d value is a scalar in NumPy.
    return any(
        isinstance(e, np.ndarray)
        or (isinstance(e, HLOInstruction) and e.is_parameter and not e.shape)
        for e in entries
    )


def _try_as_slice(parsed: ParsedIndex) -> None:
    """Turn a lone 1-D array in arithmetic progression into a slice (of a copy)."""
    axis, index = parsed.advanced[0]
    if not isinstance(index, np.ndarray) or index.ndim != 1:
        return
    if not all(w.keep for w in parsed.windows):
        return
    steps = np.diff(index)
    step = int(steps[0]) if steps.size else 1
    if step and (steps == step).all():
        start = int(index[0]) if index.size else 0
        parsed.windows[axis] = progression(start, step, index.size)
        parsed.advanced.clear()
        parsed.scalar = True
