"""Has a handler lay pieces of arrays beside each other, where loops would choose.

A loop that reads a concatenation has to choose between arrays for each element, which
keeps it from reading many at once. So one of what lies in memory is copied whole, piece
by piece (``join_calls.h``).

Neighbours on a ring, ``np.roll(x, 1)``, are two slices beside each other, the other way
round, and a step of a stencil reads several of them. They are slices of one copy that
is longer than the array, with its last elements before it and its first ones behind.

From how many elements on that is faster stands in the table of
:mod:`nkipy_emulator.fast_calls`, measured by ``benchmarks.bench_array_calls``.
"""

from __future__ import annotations

from collections import defaultdict
from math import prod
from typing import NamedTuple

from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule, callees
from nkipy.hlo.opcodes import OPCODES, CostKind
from nkipy.hlo.rewrites.base import Place, rewrite
from nkipy.hlo.rewrites.lending import controlled
from nkipy_emulator.fast_calls import Mode, is_chosen
from nkipy_emulator.handler_calls import handler

Value = HLOInstruction
#: Of an array along an axis: what its rolls are slices of.
Ring = tuple[Value, int]

#: Which part of an array may be copied twice for its rolls.
_MOST_REPEATED = 0.25
#: Arrays of which pieces are joined; so has it ``join_calls.h``.
_MOST_JOINED = 16
#: Bytes of a row's piece, on an average. XLA chooses well between shorter ones.
_LEAST_PIECE = 1024
#: Bytes of what is joined for a loop to read it: they are to be in the cache still.
_MOST_BYTES = 2 << 20
#: What has its memory whoever reads it, and from where.
_IN_MEMORY = frozenset(
    {"parameter", "constant", "get-tuple-element", "opt-barrier", "custom-call"}
)


class _Piece(NamedTuple):
    """Elements of `source` along an axis."""

    source: Value
    start: int
    size: int


class _Roll(NamedTuple):
    """Element i is that of `source` at i + `step`, around the end, along `axis`."""

    source: Value
    axis: int
    step: int


class _Reach(NamedTuple):
    """How many elements are needed before an array, and behind it."""

    before: int
    after: int


def send_joins(module: HLOModule, mode: Mode) -> HLOModule:
    """`module` with calls of handlers for concatenations; itself if there are none.

    Args:
        module: what to copy. Computations that are applied to elements are left.
        mode: where handlers are called.
    """
    found = [i for i in module.instructions() if i.opcode == "concatenate"]
    if mode == "never" or not found:
        return module
    rolls: dict[Value, _Roll] = {}
    joins: dict[Value, list[_Piece]] = {}
    for computation in (module.entry, *controlled(module)):
        rolls |= _rolls_in(computation, module)
    reaches = _reaches(rolls, mode)
    rolls = {i: r for i, r in rolls.items() if (r.source, r.axis) in reaches}
    for computation in (module.entry, *controlled(module)):
        joins |= _joins_in(computation, mode)
    joins = {inst: pieces for inst, pieces in joins.items() if inst not in rolls}
    if not rolls and not joins:
        return module
    sources = {source for source, _ in reaches}
    rings: dict[Ring, Value] = {}

    def rule(inst: Value, operands: tuple[Value, ...], place: Place) -> Value | None:
        b = place.builder
        if inst in sources and _is_fused(inst) and inst not in joins:
            shape, dtype, attributes = inst.shape, inst.dtype, inst.attributes
            made = b.emit(inst.opcode, operands, shape, dtype, attributes)
            return b.emit("opt-barrier", (made,), shape, dtype)
        if inst in joins:
            return _call(place, joins[inst], inst.attributes["dimension"])
        if inst not in rolls:
            return None
        roll = rolls[inst]
        ring = (roll.source, roll.axis)
        if ring not in rings:
            rings[ring] = _call(place, _around(ring, reaches[ring]), roll.axis)
        start = reaches[ring].before + roll.step
        return b.slice_dim(rings[ring], roll.axis, start, start + inst.shape[roll.axis])

    return rewrite(module, rule)


def _is_fused(inst: Value) -> bool:
    """Whether a loop that reads `inst` might make it once more, beside the copy."""
    while inst.opcode == "reshape":
        (inst,) = inst.operands
    return inst.opcode not in _IN_MEMORY and not callees(inst)


def _call(place: Place, pieces: list[_Piece], axis: int) -> Value:
    """The pieces, end to end along `axis`."""
    first = pieces[0].source
    sources = list(dict.fromkeys(piece.source for piece in pieces))
    shape = list(first.shape)
    outer, inner = prod(shape[:axis]), prod(shape[axis + 1 :])
    shape[axis] = sum(piece.size for piece in pieces)
    numbers: list[int] = []
    for source, start, size in pieces:
        sizes = (source.shape[axis], start, size)
        numbers += (sources.index(source), *(n * inner for n in sizes))
    listed = ", ".join(map(str, numbers))
    config = f"rows = {outer} : i64, pieces = array<i64: {listed}>"
    operands = tuple([place.values[source] for source in sources])
    attributes = handler("nkipy_join", config)
    b = place.builder
    return b.emit("custom-call", operands, tuple(shape), first.dtype, attributes)


# -- concatenations -------------------------------------------------------------------
def _joins_in(computation: HLOComputation, mode: Mode) -> dict[Value, list[_Piece]]:
    """Those of large pieces that lie in memory."""
    read = {o for i in computation.instructions if _is_loop(i) for o in i.operands}
    found = {}
    for inst in computation.instructions:
        if inst.opcode != "concatenate" or 0 in inst.shape:
            continue
        axis = inst.attributes["dimension"]
        pieces = [_piece(operand, axis) for operand in inst.operands]
        sources = {piece.source for piece in pieces}
        if len(sources) > _MOST_JOINED or any(map(_is_fused, sources)):
            continue
        least = _LEAST_PIECE * len(pieces) * prod(inst.shape[:axis])
        is_worth_it = inst.nbytes >= least and (
            inst.nbytes <= _MOST_BYTES or inst not in read
        )
        if mode == "always" or is_worth_it:
            if is_chosen("joins", "any", prod(inst.shape), mode):
                found[inst] = pieces
    return found


def _is_loop(inst: Value) -> bool:
    kind = OPCODES[inst.opcode].cost.kind
    return kind in (CostKind.ELEMENTWISE, CostKind.MOVE, CostKind.VIEW, CostKind.REDUCE)


def _piece(value: Value, axis: int) -> _Piece:
    """`value` as elements along `axis` of what it is a slice of, or of itself."""
    if value.opcode == "slice":
        (source,) = value.operands
        starts = value.attributes["starts"]
        strides = value.attributes.get("strides") or ()
        others = list(source.shape)
        others[axis] = value.shape[axis]
        if value.shape == tuple(others) and all(s == 1 for s in strides):
            return _Piece(source, starts[axis], value.shape[axis])
    return _Piece(value, 0, value.shape[axis])


# -- rings ----------------------------------------------------------------------------
def _rolls_in(computation: HLOComputation, module: HLOModule) -> dict[Value, _Roll]:
    """Those that all their readers read element by element."""
    found: dict[Value, _Roll] = {}
    for inst in computation.instructions:
        roll = _roll(inst) if inst.opcode == "concatenate" else None
        if roll is not None:
            found[inst] = roll
    if not found:
        return found
    others = {computation.root, *module.results}
    for inst in computation.instructions:
        if OPCODES[inst.opcode].cost.kind is not CostKind.ELEMENTWISE:
            others.update(inst.operands)
    return {inst: roll for inst, roll in found.items() if inst not in others}


def _roll(inst: Value) -> _Roll | None:
    if len(inst.operands) != 2:
        return None
    axis = inst.attributes["dimension"]
    first, last = (_piece(operand, axis) for operand in inst.operands)
    source, step = first.source, first.start
    if last.source is not source or inst.shape != source.shape:
        return None
    size = source.shape[axis]
    if first.size != size - step or last.start != 0 or step == 0:
        return None
    return _Roll(source, axis, step if 2 * step <= size else step - size)


def _reaches(rolls: dict[Value, _Roll], mode: Mode) -> dict[Ring, _Reach]:
    """What is worth a copy, and how much longer that is."""
    steps: dict[Ring, list[int]] = defaultdict(list)
    for roll in rolls.values():
        steps[roll.source, roll.axis].append(roll.step)
    found = {}
    for (source, axis), own in steps.items():
        reach = _Reach(max(0, -min(own)), max(0, *own))
        if sum(reach) > _MOST_REPEATED * source.shape[axis]:
            continue
        if is_chosen("rings", "any", prod(source.shape), mode):
            found[source, axis] = reach
    return found


def _around(ring: Ring, reach: _Reach) -> list[_Piece]:
    """An array with what comes before and behind it on a ring."""
    source, axis = ring
    size = source.shape[axis]
    pieces = [
        _Piece(source, size - reach.before, reach.before),
        _Piece(source, 0, size),
        _Piece(source, 0, reach.after),
    ]
    return [piece for piece in pieces if piece.size]
