"""Loops: of a number of iterations that depends on the operands, and of a given one."""

from __future__ import annotations

from collections.abc import Callable

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule, Shape
from nkipy.hlo.rewrites.base import element

Value = HLOInstruction
_PARTS = (Shape(dt.float32, ()), Shape(dt.float32, ()))


def counting_loop(limit: float) -> HLOModule:
    """Counts from ``start`` up to ``end``, or to `limit`: it never ends beyond that.

    Both parameters and the result are scalars of float32.
    """
    condition, body = HLOComputation("condition"), HLOComputation("body")
    state = condition.add_parameter((), None, "state", _PARTS)
    b = HLOBuilder(condition)
    condition.root = b.compare(element(b, state, 0), element(b, state, 1), "LT")
    state = body.add_parameter((), None, "state", _PARTS)
    b = HLOBuilder(body)
    one = b.add(element(b, state, 0), b.scalar(1, dt.float32))
    values = b.minimum(one, b.scalar(limit, dt.float32)), element(b, state, 1)
    body.root = b.emit("tuple", values, (), None, tuple_shapes=_PARTS)
    made = HLOModule("loop")
    start, end = (made.add_parameter((), dt.float32, n) for n in ("start", "end"))
    b = HLOBuilder(made.entry)
    first = b.emit("tuple", (start, end), (), None, tuple_shapes=_PARTS)
    attributes = {"condition": condition, "body": body}
    last = b.emit("while", (first,), (), None, attributes, _PARTS)
    made.set_results(element(b, last, 0), ["count"])
    return made


def repeated(
    b: HLOBuilder, step: Callable[[HLOBuilder, Value], Value], x: Value, count: int
) -> Value:
    """``x = step(b, x)`` as often as `count` says, in a loop.

    Args:
        b: where the loop goes.
        step: writes what an iteration computes into another builder; it has the dtype
            and the shape of what it is given.
        x: what the first iteration gets.
        count: how many there are: a loop like this one does not look for signals if
            there are fewer than a hundred millions.
    """
    parts = (Shape(dt.int32, ()), Shape(x.dtype, x.shape))
    condition, body = HLOComputation("condition"), HLOComputation("body")
    state = condition.add_parameter((), None, "state", parts)
    inner = HLOBuilder(condition)
    end = inner.scalar(count, dt.int32)
    condition.root = inner.compare(element(inner, state, 0), end, "LT")
    state = body.add_parameter((), None, "state", parts)
    inner = HLOBuilder(body)
    index = inner.add(element(inner, state, 0), inner.scalar(1, dt.int32))
    values = index, step(inner, element(inner, state, 1))
    body.root = inner.emit("tuple", values, (), None, tuple_shapes=parts)
    first = (b.scalar(0, dt.int32), x)
    start = b.emit("tuple", first, (), None, tuple_shapes=parts)
    attributes = {"condition": condition, "body": body}
    return element(b, b.emit("while", (start,), (), None, attributes, parts), 1)
