"""``TraceArray``: a NumPy array made inside a kernel, which may come to hold traces.

It is an ordinary array, whose values are known while tracing, until a traced value is
stored into it or into a view of it. From then on, it and all views that share its
memory act as traced tensors.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core._memory_views import Layout, layout_of, tensor_view
from nkipy.core.backend import _active_ctx
from nkipy.core.backend._source import caller_location
from nkipy.core.backend.hlo import as_hlo_tensor
from nkipy.core.errors import ConcretizationError
from nkipy.core.op_table import OPS
from nkipy.core.tensor import NKIPyTensorRef

_CLASS = type
#: Functions whose first argument is written.
_WRITES_FIRST = frozenset(
    (np.copyto, np.put, np.put_along_axis, np.putmask, np.place, np.fill_diagonal)
)


class TraceArray(np.ndarray):
    """An array made inside a kernel; see the module's text."""

    #: Of the array that owns the memory: what holds its values once it is traced.
    _ref: NKIPyTensorRef | None = None
    _layout: Layout | None = None
    #: Of a view: its tensor, made when it is first needed.
    _view_ref: tuple[Layout, NKIPyTensorRef] | None = None
    _trace: Callable[[], Any] | None = None

    def __array_finalize__(self, obj: Any) -> None:
        ctx = _active_ctx.get()
        if ctx is not None:
            self._trace = weakref.ref(ctx)

    # -- the state -------------------------------------------------------------------
    def _traced(self) -> NKIPyTensorRef | None:
        """This array's tensor, or None while its values are known."""
        root = _root_of(self)
        if root._ref is None:
            return None
        assert root._layout is not None
        here = layout_of(self)
        if self._view_ref is None or self._view_ref[0] != here:
            view = tensor_view(root._ref, root._layout, here)
            self._view_ref = (here, view)
        return self._view_ref[1]

    def _as_traced_operand(self) -> Any:
        """The tensor, or a plain array while the values are known."""
        traced = self._traced()
        return self.view(np.ndarray) if traced is None else traced

    def _as_traced_destination(self) -> NKIPyTensorRef:
        """The tensor to store into. From now on, the array is traced.

        Raises:
            TypeError: the array was made outside of the active trace.
            ValueError: it is read-only.
        """
        traced = self._traced()
        if traced is not None:
            return traced
        root = _root_of(self)
        ctx = _active_ctx.get()
        if ctx is None or root._trace is None or root._trace() is not ctx:
            raise ConcretizationError(
                "a traced value cannot be stored into an array that was made outside "
                "of this trace; pass the array to the kernel as an argument",
                location=caller_location(),
            )
        if not self.flags.writeable:
            raise ValueError("assignment destination is read-only")
        value = as_hlo_tensor(ctx, root.view(np.ndarray))
        root._ref = NKIPyTensorRef._wrap(ctx, value)
        root._layout = layout_of(root)
        _poison(root)
        found = self._traced()
        assert found is not None
        return found

    # -- NumPy's protocols -----------------------------------------------------------
    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any
    ) -> Any:
        outs = kwargs.pop("out", None)
        if outs is not None and not isinstance(outs, tuple):
            outs = (outs,)
        if holds_traced((inputs, outs, kwargs)):
            # Destinations first: what becomes traced now may be an operand as well.
            if outs is not None:
                outs = tuple(map(_destination, outs))
            if method == "at":
                inputs = (_destination(inputs[0]), *inputs[1:])
            inputs, kwargs = operands(inputs), operands(kwargs)
            if outs is not None:
                kwargs["out"] = outs
            lead = _first_tensor((inputs, kwargs))
            return NKIPyTensorRef.__array_ufunc__(
                lead, ufunc, method, *inputs, **kwargs
            )
        if outs is not None:
            kwargs["out"] = tuple(_plain(o) for o in outs)
        kwargs = {k: _plain(v) if k != "out" else v for k, v in kwargs.items()}
        result = getattr(ufunc, method)(*(_plain(x) for x in inputs), **kwargs)
        if outs is not None:
            return outs[0] if len(outs) == 1 else outs
        return adopt(result)

    def __array_function__(
        self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any
    ) -> Any:
        # Mostly a traced argument is one of `args` itself, and there are no others.
        if NKIPyTensorRef not in map(type, args) and not holds_traced((args, kwargs)):
            result = super().__array_function__(func, types, args, kwargs)
            if func is np.empty_like and isinstance(result, np.ndarray):
                result.fill(0)
            return adopt(result, among=tuple(args))
        kwargs = dict(kwargs)
        if kwargs.get("out") is not None:
            kwargs["out"] = _destination(kwargs["out"])
        if args and func in _WRITES_FIRST:
            args = (_destination(args[0]), *args[1:])
        args = operands(tuple(args))
        if kwargs:
            kwargs = operands(kwargs)
        lead = _first_tensor((args, kwargs))
        return NKIPyTensorRef.__array_function__(lead, func, types, args, kwargs)

    # -- indexing --------------------------------------------------------------------
    def __getitem__(self, index: Any) -> Any:
        traced = self._traced()
        if traced is not None:
            return OPS["getitem"](traced, index)
        if holds_traced(index):
            return OPS["getitem"](self.view(np.ndarray), index)
        return super().__getitem__(_plain_index(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        traced = self._traced()
        if traced is None and (holds_traced(value) or holds_traced(index)):
            traced = self._as_traced_destination()
        if traced is not None:
            OPS["setitem"](traced, index, value)
        else:
            super().__setitem__(_plain_index(index), value)

    def __iter__(self) -> Iterator[Any]:
        traced = self._traced()
        return super().__iter__() if traced is None else iter(traced)

    @property
    def flat(self) -> Any:
        traced = self._traced()
        return super().flat if traced is None else traced.flat

    def view(self, dtype: Any = None, type: Any = None) -> Any:
        is_class = isinstance(dtype, _CLASS) and issubclass(dtype, np.ndarray)
        if type is None and not is_class:
            traced = self._traced()
            if traced is not None:
                return OPS["view"](traced, dtype)
        return super().view(*(a for a in (dtype, type) if a is not None))

    def __repr__(self) -> str:
        traced = self._traced()
        return repr(self.view(np.ndarray) if traced is None else traced)

    __str__ = __repr__


def _forward(name: str) -> Callable[..., Any]:
    concrete = getattr(np.ndarray, name)

    def method(self: TraceArray, *args: Any, **kwargs: Any) -> Any:
        traced = self._traced()
        if traced is None and not holds_traced((args, kwargs)):
            return concrete(self, *args, **kwargs)
        if kwargs.get("out") is not None:
            kwargs["out"] = _destination(kwargs["out"])
        if name in _WRITING_METHODS:
            self._as_traced_destination()
        traced = self._traced()
        if traced is None:
            ctx = _active_ctx.get()
            traced = NKIPyTensorRef._wrap(ctx, as_hlo_tensor(ctx, _plain(self)))
        return getattr(traced, name)(*operands(args), **operands(kwargs))

    method.__name__ = name
    return method


_WRITING_METHODS = frozenset(("fill", "put", "sort", "partition", "itemset"))
_DUNDERS = (
    "__bool__ __int__ __float__ __complex__ __index__ __contains__ __copy__ "
    "__deepcopy__"
).split()
for _name in (*(n for n in vars(np.ndarray) if n[0] != "_"), *_DUNDERS):
    if _name != "view" and callable(getattr(np.ndarray, _name)):
        setattr(TraceArray, _name, _forward(_name))


# -- what is traced --------------------------------------------------------------------
def _root_of(array: TraceArray) -> TraceArray:
    """The outermost array made inside the kernel whose memory `array` shares."""
    root = array
    base = array.base
    while isinstance(base, np.ndarray):
        if isinstance(base, TraceArray):
            root = base
        base = base.base
    return root


def _poison(root: TraceArray) -> None:
    """Make it visible if code that bypasses NumPy's protocols uses stale values."""
    if root.flags.writeable:
        stale = root.view(np.ndarray)
        stale[...] = np.nan if dt.is_float(stale.dtype) else dt.lowest(stale.dtype)


def holds_traced(value: Any) -> bool:
    """Whether `value`, or something in its lists, dicts or slices, is traced."""
    if isinstance(value, NKIPyTensorRef):
        return True
    if isinstance(value, TraceArray):
        return _root_of(value)._ref is not None
    if isinstance(value, (list, tuple)):
        return any(map(holds_traced, value))
    if isinstance(value, dict):
        return any(map(holds_traced, value.values()))
    if isinstance(value, slice):
        return holds_traced((value.start, value.stop, value.step))
    return False


def operands(value: Any) -> Any:
    """`value` with its TraceArrays, nested ones too, as tensors or plain arrays."""
    kind = type(value)
    if kind is tuple or kind is list:
        return kind(map(operands, value))
    if kind is dict:
        return {k: operands(v) for k, v in value.items()}
    return value._as_traced_operand() if isinstance(value, TraceArray) else value


def _first_tensor(value: Any) -> NKIPyTensorRef:
    if isinstance(value, NKIPyTensorRef):
        return value
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            found = _first_tensor(item)
            if found is not None:
                return found
    return None  # type: ignore[return-value]


def _destination(out: Any) -> Any:
    if isinstance(out, tuple):
        return tuple(map(_destination, out))
    return out._as_traced_destination() if isinstance(out, TraceArray) else out


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, TraceArray) else value


def _plain_index(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(map(_plain, index))
    return _plain(index)


def adopt(result: Any, among: tuple[Any, ...] = ()) -> Any:
    """`result` with its plain arrays, in lists and tuples too, as TraceArrays.

    Args:
        among: arguments of the function that made the result. A plain array that
            shares memory with one of them existed before, and stays plain.
    """
    if type(result) in (list, tuple):
        return type(result)(adopt(r, among) for r in result)
    if type(result) is not np.ndarray or result.dtype not in dt.HLO_NAMES:
        return result
    if _has_owner(result):
        return result.view(TraceArray)
    for value in among:
        if isinstance(value, np.ndarray) and np.may_share_memory(result, value):
            return result
    # It must own its memory: that is how its views find it.
    order: Any = "F" if result.flags.fnc else "C"
    owned = np.ndarray.__new__(TraceArray, result.shape, result.dtype, order=order)
    np.ndarray.__setitem__(owned, ..., result)
    return owned


def _has_owner(array: np.ndarray) -> bool:
    base = array.base
    while isinstance(base, np.ndarray):
        if isinstance(base, TraceArray):
            return True
        base = base.base
    return False
