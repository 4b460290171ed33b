"""Finds a NumPy view's place in the array whose memory it shares, as tensor views."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.op_table import OPS
from nkipy.core.tensor import NKIPyTensorRef, View, layout_with
from nkipy.hlo.builder import HLOBuilder, Value


class Layout(NamedTuple):
    """Where an array's elements lie: address, shape, strides (bytes); their dtype."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype


def layout_of(array: np.ndarray) -> Layout:
    """The layout of `array`."""
    address = array.__array_interface__["data"][0]
    return Layout(address, array.shape, array.strides, array.dtype)


def tensor_view(root: NKIPyTensorRef, whole: Layout, part: Layout) -> NKIPyTensorRef:
    """The view of `root`, which stands for `whole`, that is `part`.

    Raises:
        NotImplementedError: `part` reads the memory as a dtype of another size, or as
            one that the device does not have; or it reaches beyond `whole`.
    """
    if part.dtype != whole.dtype:
        return _as_dtype(root, whole, part)
    if (part.shape, part.strides, part.address) == (
        whole.shape,
        whole.strides,
        whole.address,
    ):
        return root
    found = _by_axes(root, whole, part)
    if found is None:
        found = _by_run(root, whole, part)
    return _by_elements(root, whole, part) if found is None else found


def _as_dtype(root: NKIPyTensorRef, whole: Layout, part: Layout) -> NKIPyTensorRef:
    own, wanted = whole.dtype, part.dtype
    if own != root.dtype or own.itemsize != wanted.itemsize:
        raise NotImplementedError(f"a view of {own} as {wanted}")
    if not dt.is_supported(wanted):
        raise NotImplementedError(f"a view as {wanted}")
    return OPS["view"](tensor_view(root, whole, part._replace(dtype=own)), wanted)


def _by_axes(
    root: NKIPyTensorRef, whole: Layout, part: Layout
) -> NKIPyTensorRef | None:
    """A basic index and a transpose, if each axis is a slice of one of the root's."""
    start = _origin(whole, part.address - whole.address)
    if start is None:
        return None
    index: list[Any] = list(start)
    sources: list[int] = []  # the root's axis of each axis longer than one
    for size, stride in zip(part.shape, part.strides):
        if size == 1:
            continue
        axis = _axis_for(whole, start, size, stride, sources)
        if axis is None:
            return None
        step = stride // whole.strides[axis]
        last = start[axis] + step * (size - 1)
        stop = last + (1 if step > 0 else -1)
        index[axis] = slice(start[axis], None if stop < 0 else stop, step)
        sources.append(axis)
    # A trailing Ellipsis keeps a single element a view rather than a scalar.
    view = OPS["getitem"](root, (*index, Ellipsis))
    if sources != sorted(sources):
        ranks = {axis: rank for rank, axis in enumerate(sorted(sources))}
        view = OPS["transpose"](view, [ranks[axis] for axis in sources])
    if view.shape != part.shape:
        sized = iter(range(view.ndim))
        view = OPS["getitem"](view, tuple(_expanding(part.shape, sized)))
    return view


def _expanding(shape: tuple[int, ...], sized: Any) -> list[Any]:
    return [None if d == 1 else (next(sized), slice(None))[1] for d in shape]


def _origin(whole: Layout, offset: int) -> list[int] | None:
    """The root's index of the element `offset` bytes from its first one."""
    order = sorted(range(len(whole.shape)), key=lambda i: -whole.strides[i])
    start = [0] * len(whole.shape)
    for axis in order:
        stride = whole.strides[axis]
        if whole.shape[axis] <= 1:
            continue
        if stride <= 0:
            return None
        start[axis], offset = divmod(offset, stride)
        if start[axis] >= whole.shape[axis]:
            return None
    return start if offset == 0 else None


def _axis_for(
    whole: Layout, start: list[int], size: int, stride: int, used: list[int]
) -> int | None:
    for axis in sorted(range(len(whole.shape)), key=lambda i: -whole.strides[i]):
        own = whole.strides[axis]
        if axis in used or whole.shape[axis] <= 1 or not stride or stride % own:
            continue
        last = start[axis] + stride // own * (size - 1)
        if 0 <= last < whole.shape[axis]:
            return axis
    return None


def _by_run(root: NKIPyTensorRef, whole: Layout, part: Layout) -> NKIPyTensorRef | None:
    """A reshape of a contiguous run, if both are contiguous."""
    if not (_is_contiguous(whole) and _is_contiguous(part)) or 0 in part.shape:
        return None
    first = (part.address - whole.address) // whole.dtype.itemsize
    count = int(np.prod(part.shape))
    run = OPS["reshape"](root, (-1,))[first : first + count]
    return OPS["reshape"](run, part.shape)


def _is_contiguous(layout: Layout) -> bool:
    expected = layout.dtype.itemsize
    for size, stride in zip(reversed(layout.shape), reversed(layout.strides)):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def _by_elements(root: NKIPyTensorRef, whole: Layout, part: Layout) -> NKIPyTensorRef:
    """One gather or scatter: whatever the memory looks like."""
    places = {
        address: i for i, address in enumerate(_addresses(whole).ravel().tolist())
    }
    addresses = _addresses(part).ravel().tolist()
    if not places.keys() >= set(addresses):
        raise NotImplementedError("a view that reaches beyond the array")
    flat = np.array([places[a] for a in addresses], np.int64)
    index = np.unravel_index(flat.reshape(part.shape), whole.shape)
    overlaps = len(set(addresses)) < len(addresses)
    ctx = root._ctx

    def read(b: HLOBuilder, x: Value) -> Value:
        taken = OPS["getitem"](NKIPyTensorRef._wrap(ctx, x), index)
        return taken.backend_tensor

    def write(b: HLOBuilder, x: Value, value: Value) -> Value:
        if overlaps:
            raise NotImplementedError(
                "a store through a view that has an element of the array several times"
            )
        target = NKIPyTensorRef._wrap(ctx, x)
        OPS["setitem"](target, index, NKIPyTensorRef._wrap(ctx, value))
        return target.backend_tensor

    def layout(array: np.ndarray) -> np.ndarray:
        return layout_with(part.shape, part.strides, part.dtype.itemsize)

    return root._make_view(View(read, write, layout))


def _addresses(layout: Layout) -> np.ndarray:
    total = np.array(layout.address, np.int64)
    for size, stride in zip(layout.shape, layout.strides):
        steps = np.arange(size, dtype=np.int64) * stride
        total = total[..., None] + steps
    return np.asarray(total)
