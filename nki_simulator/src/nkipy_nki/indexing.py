"""Indices in brackets, and the methods that pick along a dimension."""

from __future__ import annotations

from dataclasses import dataclass
from operator import index as as_int
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np

from nkipy_nki.gathering import run_time_index
from nkipy_nki.iterations import Iterations
from nkipy_nki.program import Dynamic, Register, View
from nkipy_nki.running import whole_number
from nkipy_nki.views import (
    axis_of,
    is_fixed,
    out_of_bounds,
    refuse,
    require_direct,
    require_free,
)

V = TypeVar("V", bound=View)

__all__ = ["DynamicSlice", "ds", "index", "select", "slice_dim"]


@dataclass(frozen=True, eq=False, slots=True)
class DynamicSlice:
    """`size` elements from `start` on, which may be a register."""

    start: Any
    size: int


def ds(start: Any, size: int) -> DynamicSlice:
    """An index of `size` elements from `start`, a number or a register, on."""
    return DynamicSlice(start, size)


class _Pick(NamedTuple):
    """What an index takes of a dimension.

    Attributes:
        start: the first element; of an index at run time, 0.
        length: how many; 0 of a number, whose dimension goes away.
        step: from one to the next.
        dynamic: what is added to `start` at run time.
        limit: how many values that can have.
    """

    start: int
    length: int
    step: int = 1
    dynamic: Register | View | None = None
    limit: int = 0


def index(view: V, given: Any) -> V:
    """What ``view[given]`` is: numbers, slices, ranges, ``nl.ds``, registers, ``...``.

    A number takes its dimension away; not that of partitions, and not the last that a
    view must have: two on the chip, one in HBM.
    """
    parts = given if type(given) is tuple else (given,)
    shape = view.shape
    if len(parts) != len(shape):
        parts = _completed(view, parts)
    on_chip = view.allocation.region.is_on_chip
    offset, dynamic, axis = view.offset, view.dynamic, 0
    if dynamic is not None:
        _require_whole(view, parts)
    counts: list[int] = []
    strides: list[int] = []
    for part, extent, stride in zip(parts, shape, view.strides):
        if type(part) is int and 0 <= part < extent:  # most are such, or slices
            offset += part * stride
            if axis == 0 and on_chip:
                counts.append(1)
                strides.append(stride)
            axis += 1
            continue
        start, count, step, at_run_time, limit = _pick(view, axis, part, extent)
        offset += start * stride
        if at_run_time is not None:
            dynamic = Dynamic(at_run_time, stride, limit, more=dynamic)
        if step != 1:
            if axis == 0 and on_chip:
                _refuse_step(view, part)
            stride *= step
        if count or (axis == 0 and on_chip):
            counts.append(count or 1)
            strides.append(stride)
        axis += 1
    if len(counts) < (2 if on_chip else 1):
        counts.append(1)
        strides.append(view.strides[-1])
    made = type(view)
    return made(
        view.allocation, view.dtype, offset, tuple(counts), tuple(strides), dynamic
    )


def _pick(view: View, axis: int, part: Any, extent: int) -> tuple[Any, ...]:
    """What an index takes of a dimension, as a :class:`_Pick` has it."""
    kind = type(part)
    if kind is slice:
        start, stop = part.start, part.stop
        if start is stop is part.step is None and extent:
            return 0, extent, 1, None, 0
        if part.step is None:
            if start is None:
                start = 0
            if stop is None:
                stop = extent
            if type(start) is type(stop) is int and 0 <= start < stop <= extent:
                return start, stop - start, 1, None, 0
        return _slice(view, axis, part)
    if kind is DynamicSlice:
        return _dynamic_slice(view, axis, part)
    if kind is range:
        return _range(view, axis, part)
    if kind is Iterations:
        return _range(view, axis, part.numbers)
    if part is Ellipsis:
        return _Pick(0, extent)
    return _number(view, axis, part)


def _slice(view: View, axis: int, part: slice) -> _Pick:
    what = _text(view, axis, part)
    for bound in (part.start, part.stop, part.step):
        if bound is not None and not _is_number(bound):
            problem = "use nl.ds(start, size) for a start that is known at run time"
            refuse(view, what, f"a bound is {bound!r}: {problem}")
    extent = view.shape[axis]
    step = 1 if part.step is None else as_int(part.step)
    if step < 1:
        refuse(view, what, f"the step is {step}, and must be positive")
    start = 0 if part.start is None else _from_end(as_int(part.start), extent)
    stop = extent if part.stop is None else _from_end(as_int(part.stop), extent)
    if not 0 <= start <= extent:
        _beyond(view, axis, part, as_int(part.start))
    if not 0 <= stop <= extent:
        _beyond(view, axis, part, as_int(part.stop))
    count = len(range(start, stop, step))
    if count == 0:
        refuse(view, what, "no elements are selected")
    return _Pick(start, count, step)


def _from_end(number: int, extent: int) -> int:
    return number + extent if number < 0 else number


def _range(view: View, axis: int, part: range) -> _Pick:
    if not part:
        refuse(view, _text(view, axis, part), "no elements are selected")
    if part[0] < 0:
        _beyond(view, axis, part, part[0])
    return _slice(view, axis, slice(part[0], part[-1] + 1, part.step))


def _dynamic_slice(view: View, axis: int, part: DynamicSlice) -> _Pick:
    what = _text(view, axis, part)
    extent, size = view.shape[axis], whole_number(part.size, f"{what}: the size")
    if size < 1:
        refuse(view, what, f"the size is {size}, and must be positive")
    if size > extent:
        _beyond(view, axis, part, size)
    if not _is_number(part.start):
        found = run_time_index(view, part.start, what)
        return _Pick(0, size, 1, found, extent - size + 1)
    start = as_int(part.start)
    if start < 0 or start + size > extent:
        _beyond(view, axis, part, start if start < 0 else start + size)
    return _Pick(start, size)


def _number(view: View, axis: int, part: Any) -> _Pick:
    what = _text(view, axis, part)
    extent = view.shape[axis]
    if part is None:
        refuse(view, what, "None adds no dimension: use .expand_dim")
    if isinstance(part, (bool, float, str, list)):
        refuse(view, what, f"an index is {part!r}, and must be an int or a slice")
    if isinstance(part, np.ndarray) and part.dtype.kind == "b":
        refuse(view, what, "an index is a mask, and must be an int or a slice")
    if not _is_number(part):
        found = run_time_index(view, part, what)
        _require_one(view, found, what)
        return _Pick(0, 0, 1, found, extent)
    number = as_int(part)
    if not -extent <= number < extent:
        _beyond(view, axis, part, number)
    return _Pick(number % extent, 0)


def _is_number(given: Any) -> bool:
    """Whether an index is known when it is given; a register's value is not."""
    if isinstance(given, np.ndarray) and (given.ndim or given.dtype.kind not in "iu"):
        return False
    return hasattr(given, "__index__") and not hasattr(given, "register")


def _beyond(view: View, axis: int, part: Any, value: int) -> NoReturn:
    extent = view.shape[axis]
    problem = f"index {value} of dimension {axis}, which has {extent} elements"
    text = _text(view, axis, part)
    out_of_bounds(view, text, value, extent, problem, dimension=axis)


def _text(view: View, axis: int, part: Any) -> str:
    """An index as a kernel has it."""
    if isinstance(part, slice):
        bounds = [part.start, part.stop, part.step]
        part = ":".join("" if b is None else str(b) for b in bounds[:2]) + (
            "" if part.step is None else f":{part.step}"
        )
    elif isinstance(part, DynamicSlice):
        part = f"nl.ds({part.start}, {part.size})"
    elif isinstance(part, np.ndarray) and part.ndim:
        part = f"<array {list(part.shape)} {part.dtype}>"
    name = view.allocation.name or "tensor"
    return f"{name}[{':, ' * axis}{part}]"


def _completed(view: View, parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """As many indices as there are dimensions."""
    ndim = len(view.shape)
    gaps = [i for i, part in enumerate(parts) if part is Ellipsis]
    given = len(parts) - len(gaps)
    if len(gaps) > 1:
        refuse(view, "[...]", "an index has more than one ellipsis")
    if given > ndim:
        refuse(view, "[...]", f"{given} indices, and there are {ndim} dimensions")
    first = gaps[0] if gaps else given
    fill = (slice(None),) * (ndim - given)
    return (*parts[:first], *fill, *parts[first + len(gaps) :])


def _require_whole(view: View, parts: tuple[Any, ...]) -> None:
    """What is indexed at run time must not be indexed again."""
    require_direct(view, "[...]")
    if view.region.is_on_chip or not is_fixed(view):
        return
    first = parts[0]
    if first is not Ellipsis and not _is_all(first, view.shape[0]):
        require_free(view, 0, _text(view, 0, first), "indexed again")


def _is_all(part: Any, extent: int) -> bool:
    """Whether an index is a slice of all elements."""
    if not isinstance(part, slice):
        return False
    bounds = (part.start, part.stop, part.step)
    if not all(bound is None or _is_number(bound) for bound in bounds):
        return False
    return part.indices(extent) == (0, extent, 1)


def _refuse_step(view: View, part: Any) -> NoReturn:
    refuse(
        view,
        _text(view, 0, part),
        "dim 0 is that of partitions, which have no step: the step must be 1",
    )


def _require_one(view: View, found: Register | View, what: str) -> None:
    if isinstance(found, View) and found.size != 1:
        refuse(
            view,
            what,
            f"an index has the shape {list(found.shape)}, and must have one element: "
            "use .vector_select, or .ap with a vector_offset",
        )


# -- methods ---------------------------------------------------------------------------
def _at(view: V, axis: int, part: Any) -> V:
    return index(view, (slice(None),) * axis + (part, Ellipsis))


def slice_dim(view: V, dim: int, start: int, end: int, step: int = 1) -> V:
    """Elements of one dimension: those of ``start:end:step``."""
    axis = axis_of(view, dim, f"slice({dim})")
    return _at(view, axis, slice(start, end, step))


def select(view: V, dim: int, given: Any) -> V:
    """One element of a dimension, which goes away, by a number or at run time."""
    axis = axis_of(view, dim, f"select({dim})")
    return _at(view, axis, given)
