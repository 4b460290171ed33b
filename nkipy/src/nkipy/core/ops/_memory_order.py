"""How NumPy would lay out an op's result in memory: NumPy itself is asked.

A program's values have no layout, yet it decides whether a later ``reshape`` or
``ravel`` is a view, which a store reaches, or a copy. NumPy's rules differ between
functions, and depend on the order in which the operands' axes lie in memory: so an op
with an operand that is not C-contiguous is applied to small arrays that are laid out as
the operands are, and the order of axes of what NumPy makes is the order here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend import _active_ctx
from nkipy.core.tensor import NKIPyTensorRef, UnknownOrder, layout_in_order

__all__ = ["LONGEST", "Asked", "lay_out", "memory_order"]

Shape = tuple[int, ...]
#: The axes of an array, from the slowest in memory to the fastest.
Axes = tuple[int, ...]


class Asked(Protocol):
    """What is asked of an op."""

    name: str

    @property
    def memory_order(self) -> str:
        """What decides the order of results, besides NumPy."""

    def __hash__(self) -> int: ...

    def in_numpy(self) -> Iterator[Callable[..., Any]]:
        """Functions of plain arrays, of which the first that takes them is asked."""

    def modelled(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The arguments, fit for arrays of a few elements along each axis."""


def lay_out(
    op: Asked, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Give the new tensors that `op` has made the memory order that NumPy's have.

    Views of the arguments keep theirs, which follows from that of their bases.
    """
    if type(result) is NKIPyTensorRef:
        base = result._base
        if len(result._value.shape) < 2:
            return
        if base is not None and args and base is args[0]:
            return
        if base is None and not kwargs and op.memory_order == "operands":
            for value in args:  # as most calls are
                if type(value) is NKIPyTensorRef:
                    if value._base is not None or value._laid is not None:
                        break
                elif type(value) is not float and type(value) is not int:
                    break
            else:
                return
    elif not isinstance(result, (tuple, list)):
        return
    if op.memory_order == "made":
        return
    asks = op.memory_order == "own" or _is_strided(args)
    asks = asks or (bool(kwargs) and _is_strided(kwargs.values()))
    if asks or type(result) is not NKIPyTensorRef or result._base is not None:
        _lay_out(op, list(_tensors(result)), args, kwargs, asks)


def memory_order(tensor: NKIPyTensorRef) -> Axes | None:
    """The axes of a tensor from the slowest to the fastest, if not in C order.

    None also where the order is not known, or elements of others lie between.
    """
    if tensor.ndim < 2 or tensor._is_in_c_order():
        return None
    layout = tensor._known_layout()
    axes = None if layout is None else _order_of(layout)
    return None if axes == tuple(range(tensor.ndim)) else axes


#: Elements that the axes of models have at most: enough for second differences.
LONGEST = 4


def _is_strided(values: Iterable[Any]) -> bool:
    """Whether axes of an array among `values` lie in another order than C.

    Or another order is named. Gaps between elements do not matter: no result has them.
    """
    for value in values:
        kind = type(value)
        if kind is NKIPyTensorRef:
            if not value._is_in_c_order():
                layout = value._known_layout()
                if layout is None or _is_out_of_order(layout):
                    return True
        elif kind is np.ndarray:
            if _is_out_of_order(value):
                return True
        elif kind is str:
            if value == "F":
                return True
        elif kind is tuple or kind is list:
            if _is_strided(value):
                return True
        elif isinstance(value, NKIPyTensorRef):  # its values are known
            if _is_out_of_order(value._layout()):
                return True
    return False


def _is_out_of_order(layout: np.ndarray) -> bool:
    if layout.flags.c_contiguous:
        return False
    before = None
    for size, stride in zip(layout.shape, layout.strides):
        if size > 1:
            if stride <= 0 or (before is not None and stride > before):
                return True
            before = stride
    return False


def _tensors(tree: Any) -> Iterator[NKIPyTensorRef]:
    if isinstance(tree, NKIPyTensorRef):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for part in tree:
            yield from _tensors(part)
    elif isinstance(tree, dict):
        yield from _tensors(list(tree.values()))


def _lay_out(
    op: Asked,
    made: list[NKIPyTensorRef],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    asks: bool,
) -> None:
    if len(made) == 1 and made[0]._base is None and not kwargs:
        if not any(made[0] is value for value in args):
            orders = _orders(op, args, kwargs)
            _set_order(made[0], orders[0] if len(orders) == 1 else None, op.name)
        return
    existed = {id(tensor._root()) for tensor in _tensors([args, kwargs])}
    new = [
        i
        for i, tensor in enumerate(made)
        if type(tensor) is NKIPyTensorRef
        and tensor.ndim > 1
        and (asks or tensor._base is not None)
        and 0 not in tensor.shape
        and id(tensor._root()) not in existed
    ]
    if not new:
        return
    orders = _orders(op, args, kwargs)
    for i in new:
        found = orders[i] if len(orders) == len(made) else None
        _set_order(made[i], found, op.name)


def _set_order(tensor: NKIPyTensorRef, found: Order | None, op: str) -> None:
    if 0 in tensor.shape:
        return
    long = tuple([d > 1 for d in tensor.shape])
    if found is None or found.long != long or found.axes is None:
        if tensor._base is None:
            tensor._laid = UnknownOrder(op)
        return
    view = tensor._view
    if view is not None and view.write is not None:  # of what nobody else has
        tensor._value = tensor.backend_tensor
        tensor._base = tensor._view = None
    tensor._laid = layout_in_order(tensor.shape, tensor.dtype.itemsize, found.axes)


# -- asking NumPy ----------------------------------------------------------------------
class Order(NamedTuple):
    """What NumPy has made.

    Attributes:
        long: of each axis, whether it has more than one element.
        axes: from the slowest to the fastest; None if memory lies between elements.
    """

    long: tuple[bool, ...]
    axes: Axes | None


class _Unanswerable(Exception):
    """The question cannot be put."""


def _orders(op: Asked, args: Any, kwargs: dict[str, Any]) -> tuple[Order, ...]:
    """The order of each array and scalar that NumPy gives; none if that is unknown."""
    args, kwargs = op.modelled(args, kwargs)
    try:
        signature = tuple([_signature(value) for value in args])
        named = _signature(kwargs) if kwargs else None
    except _Unanswerable:
        return ()
    try:
        return _ask(op, signature, named)
    except TypeError:  # something in it cannot be hashed
        return _ask.__wrapped__(op, signature, named)


@lru_cache(maxsize=4096)
def _ask(op: Asked, signature: tuple[Any, ...], named: Any) -> tuple[Order, ...]:
    token = _active_ctx.set(None)
    try:
        with np.errstate(all="ignore"):
            for function in op.in_numpy():
                args = map(_models, signature)
                kwargs = {} if named is None else _models(named)
                try:
                    return tuple(_orders_in(function(*args, **kwargs)))
                except Exception:  # whatever it is that keeps it from answering
                    continue
    finally:
        _active_ctx.reset(token)
    return ()


def _orders_in(tree: Any) -> Iterator[Order]:
    if isinstance(tree, (np.ndarray, np.generic)):
        yield Order(tuple(d > 1 for d in tree.shape), _order_of(np.asarray(tree)))
    elif isinstance(tree, dict):
        yield from _orders_in(list(tree.values()))
    elif isinstance(tree, (tuple, list)):
        for part in tree:
            yield from _orders_in(part)


def _order_of(array: np.ndarray) -> Axes | None:
    if not _is_dense(array.shape, array.strides, array.itemsize):
        return None
    steps = [s if d > 1 else 0 for d, s in zip(array.shape, array.strides)]
    if any(step < 0 for step in steps):
        return None
    if array.flags.c_contiguous:
        return tuple(range(array.ndim))
    return tuple(sorted(range(array.ndim), key=lambda axis: -steps[axis]))


def _is_dense(shape: Shape, strides: Shape, itemsize: int) -> bool:
    """Whether the elements fill the memory from the first to the last of them."""
    span = sum(abs(s) * (d - 1) for d, s in zip(shape, strides))
    return span == (prod(shape) - 1) * itemsize


# -- the arguments of the question -----------------------------------------------------
class _Model(NamedTuple):
    """An array of a few elements along each axis, laid out as a larger one is.

    Attributes:
        shape: its dimensions.
        steps: elements of memory from one to the next along each axis.
        dtype: of its elements.
    """

    shape: Shape
    steps: Shape
    dtype: np.dtype

    def array(self) -> np.ndarray:
        """Ones on diagonals, which matrices need to have an inverse; zeros."""
        reach = [step * (d - 1) for d, step in zip(self.shape, self.steps)]
        memory = np.zeros(sum(map(abs, reach)) + 1, self.dtype)
        first = -sum(min(0, r) for r in reach)
        size = self.dtype.itemsize
        steps = [step * size for step in self.steps]
        made = np.ndarray(self.shape, self.dtype, memory, first * size, steps)
        if self.dtype.kind == "f" and len(self.shape) > 1:
            rows, columns = self.shape[-2:]
            made[...] = np.eye(rows, columns)
        return made


class _Scalar(NamedTuple):
    dtype: np.dtype


class _Static(NamedTuple):
    kind: type  # as 1, 1.0 and True are equal
    value: Any


class _Tree(NamedTuple):
    kind: type
    names: tuple[Any, ...]
    parts: tuple[Any, ...]


def _model(shape: Shape, strides: Shape, dtype: np.dtype) -> _Model:
    small = tuple([min(d, LONGEST) for d in shape])
    step = 1 if _is_dense(shape, strides, dtype.itemsize) else 2
    steps = [0] * len(shape)
    for stride in sorted({abs(s) for d, s in zip(shape, strides) if d > 1 and s}):
        alike = [i for i, s in enumerate(strides) if abs(s) == stride and shape[i] > 1]
        for i in alike:
            steps[i] = step if strides[i] > 0 else -step
        step *= max(small[i] for i in alike)
    return _Model(small, tuple(steps), _stand_in(dtype))


def _stand_in(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.float32) if dt.is_float(dtype) else dtype


def _signature(value: Any) -> Any:
    """`value`, if possible as something that can be hashed.

    Arrays are tuples of their shape, strides in bytes, and dtype; all else is of one of
    the classes above.
    """
    kind = type(value)
    if isinstance(value, NKIPyTensorRef):
        layout = value._known_layout()
        if layout is None:
            raise _Unanswerable
        if not layout.shape:
            return _Scalar(value.dtype)
        return layout.shape, layout.strides, value.dtype
    if isinstance(value, np.ndarray):
        return value.shape, value.strides, value.dtype
    if kind is tuple or kind is list:
        return _Tree(kind, (), tuple([_signature(part) for part in value]))
    if kind is dict:
        parts = [_signature(part) for part in value.values()]
        return _Tree(kind, tuple(value), tuple(parts))
    if callable(value) and not isinstance(value, (type, np.ufunc)):
        raise _Unanswerable  # it is the user's, and must not be called once more
    return _Static(kind, value)


def _models(signature: Any) -> Any:
    """The tree that a signature is of, with small arrays."""
    kind = type(signature)
    if kind is tuple:
        return _model(*signature).array()
    if kind is _Scalar:
        return _stand_in(signature.dtype).type(0)
    if kind is _Static:
        return signature.value
    parts = map(_models, signature.parts)
    if signature.kind is dict:
        return dict(zip(signature.names, parts))
    return signature.kind(parts)
