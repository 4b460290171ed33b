"""A loop whose number of iterations depends on its operands."""

from __future__ import annotations

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule, Shape

_PARTS = (Shape(dt.float32, ()), Shape(dt.float32, ()))


def _element(b: HLOBuilder, state: HLOInstruction, index: int) -> HLOInstruction:
    attributes = {"index": index}
    return b.emit("get-tuple-element", (state,), (), dt.float32, attributes)


def counting_loop(limit: float) -> HLOModule:
    """Counts from ``start`` up to ``end``, or to `limit`: it never ends beyond that.

    Both parameters and the result are scalars of float32.
    """
    condition, body = HLOComputation("condition"), HLOComputation("body")
    state = condition.add_parameter((), None, "state", _PARTS)
    b = HLOBuilder(condition)
    condition.root = b.compare(_element(b, state, 0), _element(b, state, 1), "LT")
    state = body.add_parameter((), None, "state", _PARTS)
    b = HLOBuilder(body)
    one = b.add(_element(b, state, 0), b.scalar(1, dt.float32))
    values = b.minimum(one, b.scalar(limit, dt.float32)), _element(b, state, 1)
    body.root = b.emit("tuple", values, (), None, tuple_shapes=_PARTS)
    made = HLOModule("loop")
    start, end = (made.add_parameter((), dt.float32, n) for n in ("start", "end"))
    b = HLOBuilder(made.entry)
    first = b.emit("tuple", (start, end), (), None, tuple_shapes=_PARTS)
    attributes = {"condition": condition, "body": body}
    last = b.emit("while", (first,), (), None, attributes, _PARTS)
    made.set_results(_element(b, last, 0), ["count"])
    return made
