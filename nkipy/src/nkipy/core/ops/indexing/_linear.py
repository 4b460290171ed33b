"""Tells how far apart two traced scalars are, from how they were computed."""

from __future__ import annotations

from nkipy.core import dtypes as dt
from nkipy.hlo.ir import HLOInstruction

#: A sum of instructions times factors, plus a constant.
_Linear = tuple[dict[HLOInstruction, int], int]
_MAX_DEPTH = 16


def span_between(start: HLOInstruction | int, stop: HLOInstruction | int) -> int | None:
    """``stop - start`` if that is the same whatever the traced values, else None."""
    (a, low), (b, high) = _linear(start), _linear(stop)
    return high - low if a == b else None


def _linear(value: HLOInstruction | int, depth: int = 0) -> _Linear:
    """`value` in terms of instructions that are not sums, products or constants."""
    if isinstance(value, int):
        return {}, value
    if value.opcode == "constant" and not value.shape:
        return {}, int(value.attributes["literal"])
    if depth < _MAX_DEPTH:
        parts = [_linear(x, depth + 1) for x in _terms(value)]
        if len(parts) == 1:
            return _scaled(parts[0], -1 if value.opcode == "negate" else 1)
        if len(parts) == 2:
            combined = _combine(value.opcode, *parts)
            if combined is not None:
                return combined
    return {value: 1}, 0


def _terms(value: HLOInstruction) -> tuple[HLOInstruction, ...]:
    if value.opcode in ("add", "subtract", "multiply", "negate", "reshape", "copy"):
        return value.operands
    if value.opcode == "convert" and dt.is_integer(value.operands[0].dtype):
        return value.operands
    return ()


def _combine(opcode: str, x: _Linear, y: _Linear) -> _Linear | None:
    if opcode == "add":
        return _sum(x, y)
    if opcode == "subtract":
        return _sum(x, _scaled(y, -1))
    if not x[0]:
        return _scaled(y, x[1])
    return _scaled(x, y[1]) if not y[0] else None


def _scaled(x: _Linear, factor: int) -> _Linear:
    terms = {k: v * factor for k, v in x[0].items()} if factor else {}
    return terms, x[1] * factor


def _sum(x: _Linear, y: _Linear) -> _Linear:
    terms = dict(x[0])
    for k, v in y[0].items():
        terms[k] = terms.get(k, 0) + v
    return {k: v for k, v in terms.items() if v}, x[1] + y[1]
