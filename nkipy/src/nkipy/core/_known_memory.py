"""Memory that arrays made inside a kernel share, and the end of its being known."""

from __future__ import annotations

import gc
import sys
import weakref
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np

from nkipy.core._memory_views import Layout, layout_of, tensor_view
from nkipy.core.backend import _active_ctx
from nkipy.core.backend._source import caller_location
from nkipy.core.backend.hlo import HLOTraceContext, as_hlo_tensor
from nkipy.core.errors import (
    ConcretizationError,
    NKIPyNotImplementedError,
    NKIPyOverflowError,
)
from nkipy.core.tensor import NKIPyTensorRef, View, tensor_of

_OUTSIDE = (
    "a traced value cannot be stored into an array that was made outside of this "
    "trace; pass the array to the kernel as an argument"
)
_SHARED = (
    "a traced value cannot be stored into this array while something outside of the "
    "trace refers to its memory, and would go on to read old values there: an "
    "iterator (.flat, np.nditer, np.ndenumerate), a memoryview, or a plain array that "
    "it was converted to. Give that a copy(), or be done with it before the store"
)


class Memory:
    """An array whose values are known, and the tensors that are views of it.

    Attributes:
        array: owns the memory. Only the views, whose arrays are it or have it as their
            base, and what was handed out, refer to it.
        trace: the trace in which it was made.
        views: all tensors that share the memory, and some that are no more.
    """

    __slots__ = ("_limit", "array", "trace", "views")

    def __init__(self, ctx: HLOTraceContext, array: np.ndarray) -> None:
        self.array = array
        self.trace = weakref.ref(ctx)
        self.views: list[weakref.ref[NKIPyTensorRef]] = []
        self._limit = 16

    def add(self, view: NKIPyTensorRef) -> None:
        """Remember a tensor that has just become a view."""
        if len(self.views) >= self._limit:
            self.views = [ref for ref in self.views if ref() is not None]
            self._limit = 2 * len(self.views) + 16
        self.views.append(weakref.ref(view))

    def forget(self) -> None:
        """Make all the views traced tensors: from now on, a trace has the values.

        Raises:
            ConcretizationError: the active trace is not the one that made the array;
                or something outside of it refers to the memory.
            OverflowError: a value is out of the range that its dtype has on the device.
        """
        ctx = self.trace()
        if ctx is None or ctx is not _active_ctx.get():
            raise ConcretizationError(_OUTSIDE, location=caller_location())
        views = self._live()
        if self._is_exported(views):
            gc.collect()  # what refers to it may be garbage
            if self._is_exported(views):
                raise ConcretizationError(_SHARED, location=caller_location())
        # In C order, whatever the order of the array, so that layouts stay true.
        array = self.array
        order = sorted(range(array.ndim), key=lambda i: -array.strides[i])
        whole = layout_of(array.transpose(order))
        try:
            value = as_hlo_tensor(ctx, array.transpose(order))
        except OverflowError as error:
            location = caller_location()
            raise NKIPyOverflowError(str(error), location=location) from None
        root = tensor_of(ctx, value)
        root._version = 1  # an array, not a scalar, though it may have no axes
        # Nothing fails from where the first view changes: none may keep the memory.
        tensors = [_tensor_for(view, root, whole) for view in views]
        for view, tensor in zip(views, tensors):
            _become(view, ctx, tensor)

    def is_shared(self) -> bool:
        """Whether there is more than one view, or something outside refers to it."""
        views = self._live()
        return len(views) > 1 or self._is_exported(views)

    def _live(self) -> list[NKIPyTensorRef]:
        return [view for ref in self.views if (view := ref()) is not None]

    def _is_exported(self, views: list[NKIPyTensorRef]) -> bool:
        """Whether anything but the tensors refers to the memory."""
        if _references(self, "array") != _ALONE + len(views):
            return True
        return any(
            v._array is not self.array and _references(v, "_array") != _ALONE
            for v in views
        )


def _references(holder: Any, name: str) -> int:
    return sys.getrefcount(getattr(holder, name))


#: References to an attribute that nobody else has; Python's versions differ.
_ALONE = _references(SimpleNamespace(array=np.empty(0)), "array")


def _tensor_for(
    view: NKIPyTensorRef, root: NKIPyTensorRef, whole: Layout
) -> NKIPyTensorRef | None:
    """The view of `root`, which has the values of the memory; None if there is none."""
    array = view._array
    try:
        made = tensor_view(root, whole, layout_of(array))
    except NotImplementedError:
        return None
    if made is root:
        made = root._make_view(_ALL)
    if not array.flags.writeable:
        assert made._view is not None
        made._view = made._view._replace(write=None)
    return made


_ALL = View(lambda b, base: base, lambda b, old, new: new, lambda a: a)


def _become(
    known: NKIPyTensorRef, ctx: HLOTraceContext, tensor: NKIPyTensorRef | None
) -> None:
    """Have `known` be the traced tensor that `tensor` is."""
    del known._array, known._memory
    known.__class__ = NKIPyTensorRef
    known._ctx = ctx
    known._base = known._view = known._name = known._laid = None
    known._seen = known._version = 0
    if tensor is None:
        known.__class__ = _Unreachable
        return
    known._value = tensor._value
    known._base, known._view = tensor._base, tensor._view
    known._seen, known._version = tensor._seen, tensor._version


class _Unreachable(NKIPyTensorRef):
    """A view of a traced array as another dtype, which a program cannot express."""

    __slots__ = ()

    @property
    def _value(self) -> NoReturn:  # type: ignore[override]
        raise NKIPyNotImplementedError(
            "an array that a traced value was stored into cannot be viewed as a dtype "
            "of another size, or as one that the device does not have; view the traced "
            "values themselves, or use astype",
            location=caller_location(),
        )

    backend_tensor = _value

    def __repr__(self) -> str:
        return "<traced, viewed as another dtype>"
