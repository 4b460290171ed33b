"""Ops that Python's operators call, of which most calls of a trace are."""

from __future__ import annotations

from typing import Any

from nkipy.core.backend import _active_ctx
from nkipy.core.backend._source import caller_location
from nkipy.core.hlo.ir import HLOInstruction
from nkipy.core.ops._registry import Op
from nkipy.core.ops._replay import Recipe, Signature
from nkipy.core.tensor import NKIPyTensorRef

_MAX_PAIRS = 4096  # per op


class PairOp(Op):
    """An op of operands of which only shapes, dtypes and static values matter.

    It does not make views, and how its operands lie in memory is nothing to it. Calls
    with two operands are replayed with less ado than others.
    """

    def __init__(self, name: str, **record: Any) -> None:
        record.setdefault("replays", True)
        super().__init__(name, **record)
        self._pairs: dict[Any, Recipe] = {}

    def _forget(self) -> None:
        super()._forget()
        self._pairs = {}

    def on(self, x: NKIPyTensorRef, y: Any) -> Any:
        """``self(x, y)``, called by an operator of `x`."""
        ctx = _active_ctx.get()
        if x._ctx is not ctx or ctx.current_source_location is not None:
            return self(x, y)
        ctx.current_source_location = location = caller_location(3)
        try:
            left = x._value if x._base is None else x.backend_tensor
            kind = type(y)
            if kind is NKIPyTensorRef and y._ctx is ctx:
                right = y._value if y._base is None else y.backend_tensor
                key: Any = (left.shape, left.dtype, right.shape, right.dtype)
                values = (left, right)
            elif kind is float and y or kind is int:  # 0.0 and -0.0 are equal
                key, values = (left.shape, left.dtype, kind, y), (left,)
            else:
                return self(x, y)
            recipe = self._pairs.get(key)
            if recipe is None:
                return self._first(key, x, y)
            form = recipe.form
            if form is None:
                made_here = list(values)
                recipe.emit(ctx, made_here)
                return NKIPyTensorRef._wrap(ctx, made_here[recipe.results[0].slot])
            made = HLOInstruction.of_form(form, values, location)
            ctx.append(made)
            return NKIPyTensorRef._wrap(ctx, made)
        finally:
            ctx.current_source_location = None

    def _first(self, key: Any, x: NKIPyTensorRef, y: Any) -> Any:
        """``self(x, y)``; if it was replayed, what for is remembered under `key`."""
        result = self(x, y)
        call = Signature()
        if call.add(x._ctx, (x, y)):
            recipe = (self._recipes or {}).get(tuple(call.key))
            if type(recipe) is Recipe and recipe.is_single:
                if len(self._pairs) >= _MAX_PAIRS:
                    self._pairs.clear()
                self._pairs[key] = recipe
        return result
