"""Has loops read neighbours on a ring, ``np.roll(x, 1)``, from a copy that is longer.

A roll is two slices beside each other, the other way round. A loop that reads it has to
choose between them for each element, which keeps it from reading many at once, and a
step of a stencil reads several. So a handler (``ring_calls.h``) copies the array once,
with its last elements before it and its first ones behind, and each roll is a slice of
that.
"""

from __future__ import annotations

from collections import defaultdict
from math import prod
from typing import NamedTuple

from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule, callees
from nkipy.hlo.opcodes import OPCODES, CostKind
from nkipy.hlo.rewrites.base import Place, rewrite
from nkipy.hlo.rewrites.lending import controlled
from nkipy_emulator.fast_calls import FastCalls, table
from nkipy_emulator.handler_calls import handler

Value = HLOInstruction
#: Of an array along an axis: what its rolls are slices of.
Ring = tuple[Value, int]

#: Which part of an array may be copied twice.
_MOST_REPEATED = 0.25
#: What has its memory whoever reads it, and from where.
_IN_MEMORY = frozenset(
    {"parameter", "constant", "get-tuple-element", "opt-barrier", "custom-call"}
)


class _Roll(NamedTuple):
    """Element i is that of `source` at i + `step`, around the end, along `axis`."""

    source: Value
    axis: int
    step: int


class _Reach(NamedTuple):
    """How many elements are needed before an array, and behind it."""

    before: int
    after: int


def read_rings(module: HLOModule, mode: FastCalls) -> HLOModule:
    """`module` with slices for rolls; itself if there are none that loops read.

    Args:
        module: what to copy. Computations that are applied to elements are left.
        mode: where handlers are called.
    """
    if mode == "never":
        return module
    rolls: dict[Value, _Roll] = {}
    for computation in (module.entry, *controlled(module)):
        rolls |= _rolls_in(computation, module)
    reaches = _reaches(rolls, mode)
    rolls = {i: r for i, r in rolls.items() if (r.source, r.axis) in reaches}
    if not rolls:
        return module
    sources = {source for source, _ in reaches}
    rings: dict[Ring, Value] = {}

    def rule(inst: Value, operands: tuple[Value, ...], place: Place) -> Value | None:
        b = place.builder
        if inst in sources and _is_fused(inst):
            shape, dtype, attributes = inst.shape, inst.dtype, inst.attributes
            made = b.emit(inst.opcode, operands, shape, dtype, attributes)
            return b.emit("opt-barrier", (made,), shape, dtype)
        if inst not in rolls:
            return None
        roll = rolls[inst]
        ring = (roll.source, roll.axis)
        if ring not in rings:
            rings[ring] = _call(place, ring, reaches[ring])
        start = reaches[ring].before + roll.step
        return b.slice_dim(rings[ring], roll.axis, start, start + inst.shape[roll.axis])

    return rewrite(module, rule)


def _is_fused(inst: Value) -> bool:
    """Whether a loop that reads `inst` might make it once more, beside the copy."""
    return inst.opcode not in _IN_MEMORY and not callees(inst)


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
    if len(inst.operands) != 2 or any(o.opcode != "slice" for o in inst.operands):
        return None
    (source,), (other,) = (o.operands for o in inst.operands)
    axis = inst.attributes["dimension"]
    if source is not other or inst.shape != source.shape:
        return None
    size = source.shape[axis]
    step = inst.operands[0].attributes["starts"][axis]
    if inst.operands[0].shape[axis] != size - step:
        return None
    for part, start in zip(inst.operands, (step, 0), strict=True):
        starts = [0] * len(source.shape)
        starts[axis] = start
        if tuple(part.attributes["starts"]) != tuple(starts):
            return None
        if any(s != 1 for s in part.attributes.get("strides") or ()):
            return None
    return _Roll(source, axis, step if 2 * step <= size else step - size)


def _reaches(rolls: dict[Value, _Roll], mode: FastCalls) -> dict[Ring, _Reach]:
    """What is worth a copy, and how much longer that is."""
    steps: dict[Ring, list[int]] = defaultdict(list)
    for roll in rolls.values():
        steps[roll.source, roll.axis].append(roll.step)
    found = {}
    for (source, axis), own in steps.items():
        reach = _Reach(max(0, -min(own)), max(0, *own))
        if sum(reach) > _MOST_REPEATED * source.shape[axis]:
            continue
        if mode == "always" or _is_faster(prod(source.shape)):
            found[source, axis] = reach
    return found


def _is_faster(elements: int) -> bool:
    least = table().get("rings", {}).get("any")
    return least is not None and elements >= least


def _call(place: Place, ring: Ring, reach: _Reach) -> Value:
    source, axis = ring
    shape = list(source.shape)
    outer, inner = prod(shape[:axis]), prod(shape[axis + 1 :])
    numbers = (outer, *(n * inner for n in (shape[axis], *reach)))
    shape[axis] += sum(reach)
    config = f"sizes = array<i64: {', '.join(map(str, numbers))}>"
    operands = (place.values[source],)
    attributes = handler("nkipy_ring", config)
    b = place.builder
    return b.emit("custom-call", operands, tuple(shape), source.dtype, attributes)
