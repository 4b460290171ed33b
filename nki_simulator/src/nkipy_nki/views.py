"""Views of views: functions from a tensor to another look at its bytes.

Each makes a view of its argument's class and copies nothing. What a view may leave, the
tensor's bytes, is checked when it is made, so that a run need not look at it again.

The first dimension is *fixed* where it is that of partitions, and where a tensor says
at run time which elements along it are meant: it cannot be moved, split or merged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn, TypeVar

from nkipy_nki.dtypes import DTypeRecord, find_dtype
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.program import Dynamic, View, contiguous_strides, runs_of
from nkipy_nki.running import current, is_running, kernel_line, whole_number

V = TypeVar("V", bound=View)

__all__ = [
    "broadcast",
    "broadcast_to",
    "expand_dim",
    "flatten_dims",
    "is_contiguous",
    "permute",
    "rearrange",
    "reinterpret",
    "reshape",
    "reshape_dim",
    "squeeze_dim",
]


# -- what all of them use --------------------------------------------------------------
def derive(
    view: V, offset: int, shape: Sequence[int], strides: Sequence[int], **others: Any
) -> V:
    """A view of the same tensor; of `dtype` and with the index `dynamic`, if given."""
    dtype = others.get("dtype", view.dtype)
    dynamic = others.get("dynamic", view.dynamic)
    made = type(view)
    return made(view.allocation, dtype, offset, tuple(shape), tuple(strides), dynamic)


def refuse(view: View, what: str, problem: str) -> NoReturn:
    """Say that a view cannot be.

    Raises:
        NkiValidationError: always.
    """
    raise NkiValidationError(
        f"{what}: {problem}; the tensor is {view.allocation}, seen as "
        f"{list(view.shape)} {view.dtype}\n  at {kernel_line()}"
    )


def out_of_bounds(
    view: View, what: str, value: Any, extent: int, why: str, **where: Any
) -> NoReturn:
    """Report an index beyond the end.

    Args:
        view: what is indexed.
        what: the index as the kernel has it.
        value: the number that is too great, or negative.
        extent: how many there are.
        why: the same in words.
        where: the finding's detail that says which index it is.

    Raises:
        NkiValidationError: always, as there are no bytes to see.
    """
    text = f"{what}: {why}; the tensor is {view.allocation}"
    if is_running():
        findings = current().findings
        findings.report(
            "out-of-bounds", text, kernel_line(), value=value, extent=extent, **where
        )
    raise NkiValidationError(f"{text}\n  at {kernel_line()}")


def axis_of(view: View, dim: Any, what: str, *, more: int = 0) -> int:
    """A dimension by its number, which may count from the end.

    Args:
        view: whose dimension it is.
        dim: what was given.
        what: the method, for errors.
        more: how many dimensions there are beyond the view's.
    """
    ndim = len(view.shape) + more
    axis = whole_number(dim, f"{what}: dim")
    if not -ndim <= axis < ndim:
        refuse(view, what, f"dim {axis} of {ndim} dimensions")
    return axis % ndim


def is_fixed(view: View) -> bool:
    """Whether the first dimension must stay as it is."""
    dynamic = view.dynamic
    return view.allocation.region.is_on_chip or (
        dynamic is not None and not dynamic.is_scalar
    )


def least_dims(view: View) -> int:
    """How many dimensions a view has at least: two on the chip."""
    return 2 if view.allocation.region.is_on_chip else 1


def require_free(view: View, axis: int, what: str, verb: str) -> None:
    """A dimension must not be the fixed one."""
    require_direct(view, what)
    if axis == 0 and is_fixed(view):
        kind = "that of partitions" if view.region.is_on_chip else "indexed at run time"
        refuse(view, what, f"dim 0 is {kind}, and cannot be {verb}")


def require_direct(view: View, what: str) -> None:
    """A view must not be one that ``indirect`` made."""
    if view.dynamic is not None and any(d.interleaved for d in view.dynamic.chain()):
        refuse(view, what, "a view that .indirect made cannot be viewed again")


def sizes_of(view: View, shape: Any, what: str) -> tuple[int, ...]:
    """A shape that was given: positive numbers."""
    given = shape if isinstance(shape, (tuple, list)) else (shape,)
    sizes = tuple(whole_number(size, f"{what}: a size") for size in given)
    if any(size < 1 for size in sizes):
        refuse(view, what, f"the shape {list(sizes)} has a size that is not positive")
    return sizes


# -- questions -------------------------------------------------------------------------
def is_contiguous(view: View) -> bool:
    """Whether the elements lie side by side, in the order of the indices."""
    if view.dynamic is not None and not view.dynamic.is_scalar:
        return False
    dense = contiguous_strides(view.shape)
    parts = zip(view.shape, view.strides, dense)
    return all(stride == step for count, stride, step in parts if count > 1)


# -- order, size-1 dimensions ----------------------------------------------------------
def permute(view: V, dims: Any) -> V:
    """The dimensions in another order: `dims` names for each which it is."""
    if not isinstance(dims, (tuple, list)):
        refuse(view, f"permute({dims!r})", "dims must be a tuple of dimensions")
    what = f"permute({tuple(dims)})"
    axes = [axis_of(view, dim, what) for dim in dims]
    if sorted(axes) != list(range(len(view.shape))):
        refuse(view, what, "each dimension must be named once")
    if axes[0] != 0:
        require_free(view, 0, what, "moved")
    require_direct(view, what)
    shape = [view.shape[axis] for axis in axes]
    return derive(view, view.offset, shape, [view.strides[axis] for axis in axes])


def broadcast(view: V, dim: int, size: int) -> V:
    """A dimension of one element as one of `size` equal elements."""
    what = f"broadcast({dim}, {size})"
    axis = axis_of(view, dim, what)
    (count,) = sizes_of(view, size, what)
    if view.shape[axis] == count:
        return view
    require_free(view, axis, what, "broadcast")
    if view.shape[axis] != 1:
        refuse(view, what, f"dim {axis} has {view.shape[axis]} elements, and not one")
    shape = (*view.shape[:axis], count, *view.shape[axis + 1 :])
    strides = (*view.strides[:axis], 0, *view.strides[axis + 1 :])
    return derive(view, view.offset, shape, strides)


def broadcast_to(view: V, shape: Any) -> V:
    """Each dimension of one element as often as `shape` says: same rank."""
    sizes = sizes_of(view, shape, "broadcast_to")
    if len(sizes) != len(view.shape):
        refuse(
            view,
            f"broadcast_to({list(sizes)})",
            f"the rank is {len(view.shape)}: add dimensions with .expand_dim first",
        )
    for axis, size in enumerate(sizes):
        view = broadcast(view, axis, size)
    return view


def expand_dim(view: V, dim: int) -> V:
    """A new dimension of one element before dimension `dim`."""
    what = f"expand_dim({dim})"
    axis = axis_of(view, dim, what, more=1)
    require_free(view, axis, what, "another")
    end = axis == len(view.shape)
    stride = 1 if end else view.strides[axis] * view.shape[axis]
    shape = (*view.shape[:axis], 1, *view.shape[axis:])
    strides = (*view.strides[:axis], stride, *view.strides[axis:])
    return derive(view, view.offset, shape, strides)


def squeeze_dim(view: V, dim: int) -> V:
    """Without dimension `dim`, which has one element."""
    what = f"squeeze_dim({dim})"
    axis = axis_of(view, dim, what)
    require_free(view, axis, what, "taken away")
    if view.shape[axis] != 1:
        refuse(view, what, f"dim {axis} has {view.shape[axis]} elements, and not one")
    _require_dims(view, len(view.shape) - 1, what)
    shape = view.shape[:axis] + view.shape[axis + 1 :]
    return derive(
        view, view.offset, shape, view.strides[:axis] + view.strides[axis + 1 :]
    )


def _require_dims(view: View, count: int, what: str) -> None:
    least = least_dims(view)
    if count < least:
        where = view.region.value
        refuse(view, what, f"a view in {where} has at least {least} dimensions")


# -- shapes ----------------------------------------------------------------------------
def reshape(view: V, shape: Any) -> V:
    """Another shape of as many elements, which must not need a copy."""
    sizes = sizes_of(view, shape, "reshape")
    what = f"reshape({list(sizes)})"
    require_direct(view, what)
    if math.prod(sizes) != view.size:
        refuse(view, what, f"{math.prod(sizes)} elements, and there are {view.size}")
    _require_dims(view, len(sizes), what)
    fixed = int(is_fixed(view))
    if sizes[:fixed] != view.shape[:fixed]:
        require_free(view, 0, what, f"{sizes[0]} instead of {view.shape[0]}")
    free = _reshaped(view.shape[fixed:], view.strides[fixed:], sizes[fixed:])
    if free is None:
        refuse(
            view,
            what,
            f"the strides {list(view.strides)} do not allow it without a copy: copy "
            "to a new tensor first, with nisa.tensor_copy",
        )
    return derive(view, view.offset, sizes, view.strides[:fixed] + free)


def _reshaped(
    shape: Sequence[int], strides: Sequence[int], sizes: Sequence[int]
) -> tuple[int, ...] | None:
    """The strides that another shape has; None if there are none."""
    runs = runs_of(shape, strides)
    left, step = runs.pop() if runs else (1, 1)
    found: list[int] = []
    for size in reversed(sizes):
        if left == 1 and size > 1:
            left, step = runs.pop()
        if left % size:
            return None
        found.append(step)
        left //= size
        step *= size
    return tuple(reversed(found))


def reshape_dim(view: V, dim: int, shape: Any) -> V:
    """Dimension `dim` as several, whose sizes multiply to its own."""
    what = f"reshape_dim({dim}, {shape})"
    axis = axis_of(view, dim, what)
    sizes = sizes_of(view, shape, what)
    require_free(view, axis, what, "split")
    count, stride = view.shape[axis], view.strides[axis]
    if math.prod(sizes) != count:
        refuse(view, what, f"dim {axis} has {count} elements, not {math.prod(sizes)}")
    steps = tuple(stride * step for step in contiguous_strides(sizes))
    made = view.shape[:axis] + sizes + view.shape[axis + 1 :]
    return derive(
        view, view.offset, made, view.strides[:axis] + steps + view.strides[axis + 1 :]
    )


def flatten_dims(view: V, start_dim: int, end_dim: int) -> V:
    """Dimensions from `start_dim` to `end_dim`, which is among them, as one."""
    what = f"flatten_dims({start_dim}, {end_dim})"
    first, last = (axis_of(view, dim, what) for dim in (start_dim, end_dim))
    if first >= last:
        if first == last:
            return view
        refuse(view, what, "the first dimension is behind the last")
    require_free(view, first, what, "merged")
    _require_dims(view, len(view.shape) - (last - first), what)
    counts = view.shape[first : last + 1]
    merged = _reshaped(counts, view.strides[first : last + 1], [math.prod(counts)])
    if merged is None:
        refuse(
            view,
            what,
            f"the strides {list(view.strides)} leave gaps between these dimensions: "
            "copy to a new tensor first",
        )
    shape = (*view.shape[:first], math.prod(counts), *view.shape[last + 1 :])
    strides = view.strides[:first] + merged + view.strides[last + 1 :]
    return derive(view, view.offset, shape, strides)


# -- by names --------------------------------------------------------------------------
def rearrange(
    view: V, src: Sequence[Any], dst: Sequence[Any], sizes: Mapping[str, int] | None
) -> V:
    """Split, order and merge dimensions by names.

    Args:
        view: what is looked at.
        src: a name for each dimension, or a tuple of names for its parts.
        dst: the same names in another order and grouping.
        sizes: of names; one of each tuple in `src` may be left out.
    """
    what = f"rearrange({src}, {dst})"
    if len(src) != len(view.shape):
        refuse(view, what, f"src names {len(src)} of {len(view.shape)} dimensions")
    _require_names(view, src, dst, what)
    for axis in reversed(range(len(src))):
        if isinstance(src[axis], (tuple, list)):
            parts = _parts(view, src[axis], view.shape[axis], sizes or {}, what)
            view = reshape_dim(view, axis, parts)
        elif view.shape[axis] != (sizes or {}).get(src[axis], view.shape[axis]):
            refuse(view, what, f"{src[axis]} has {view.shape[axis]} elements")
    before = _names(src)
    view = permute(view, [before.index(name) for name in _names(dst)])
    return _merge(view, dst)


def _merge(view: V, groups: Sequence[Any]) -> V:
    for axis, group in enumerate(groups):
        if isinstance(group, (tuple, list)):
            view = flatten_dims(view, axis, axis + len(group) - 1)
    return view


def _names(groups: Sequence[Any]) -> list[str]:
    parts = (g if isinstance(g, (tuple, list)) else (g,) for g in groups)
    return [name for part in parts for name in part]


def _require_names(
    view: View, src: Sequence[Any], dst: Sequence[Any], what: str
) -> None:
    before, after = _names(src), _names(dst)
    if len(set(before)) != len(before) or sorted(before) != sorted(after):
        refuse(view, what, "src and dst must have the same names, each once")
    for group in (*src, *dst):
        if isinstance(group, (tuple, list)) and not group:
            refuse(view, what, "a tuple of no names")


def _parts(
    view: View,
    names: Sequence[str],
    count: int,
    sizes: Mapping[str, int],
    what: str,
) -> list[int]:
    """The sizes of a dimension's parts; one that is not given is what is left."""
    unknown = [name for name in names if name not in sizes]
    if len(unknown) > 1:
        refuse(view, what, f"the sizes of {' and '.join(unknown)} are not given")
    known = math.prod(sizes_of(view, [sizes[n] for n in names if n in sizes], what))
    if count % known or (not unknown and count != known):
        refuse(view, what, f"{count} elements are not divided by {known}")
    return [sizes.get(name, count // known) for name in names]


# -- element types ---------------------------------------------------------------------
def reinterpret(view: V, dtype: Any) -> V:
    """The same bytes as another element type: the last dimension shrinks or grows."""
    record = find_dtype(dtype)
    what = f"view({record})"
    require_direct(view, what)
    require_bits(view, record, what)
    if record == view.dtype:
        return view
    if record.itemsize == view.dtype.itemsize:
        return derive(view, view.offset, view.shape, view.strides, dtype=record)
    if view.strides[-1] != 1 and view.shape[-1] > 1:
        refuse(view, what, f"the last dimension has the stride {view.strides[-1]}")
    if len(view.shape) == 1:
        require_free(view, 0, what, "of another size")
    scale = _Scale(view, record, what)
    shape = (*view.shape[:-1], scale(view.shape[-1], "elements of the last dimension"))
    pairs = zip(view.shape[:-1], view.strides[:-1])
    strides = [scale(s, "a stride") if count > 1 else s for count, s in pairs]
    dynamic = _rescaled(view.dynamic, scale)
    offset = scale(view.offset, "the offset")
    return derive(view, offset, shape, (*strides, 1), dtype=record, dynamic=dynamic)


def require_bits(view: View, record: DTypeRecord, what: str) -> None:
    """Refuse another type of what is kept in float32, whose bits are not the device's.

    Raises:
        NkiValidationError: so it is.
    """
    if view.dtype.is_kept_in_float32 and record != view.dtype:
        refuse(
            view,
            what,
            f"NKI_PRECISE_FP=0 keeps {view.dtype} in float32, whose bits are others: "
            "run without it",
        )


class _Scale:
    """Numbers of elements of a view's dtype in elements of another."""

    def __init__(self, view: View, record: DTypeRecord, what: str) -> None:
        self._view, self._what = view, what
        self._from, self._to = view.dtype.itemsize, record.itemsize

    def __call__(self, number: int, name: str) -> int:
        scaled, rest = divmod(number * self._from, self._to)
        if rest:
            refuse(
                self._view,
                self._what,
                f"{name}, {number}, is no whole number of {self._to} bytes",
            )
        return scaled


def _rescaled(dynamic: Dynamic | None, scale: _Scale) -> Dynamic | None:
    if dynamic is None:
        return None
    more = _rescaled(dynamic.more, scale)
    step = scale(dynamic.step, "the step of an index")
    return replace(dynamic, step=step, more=more)
