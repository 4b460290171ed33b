"""Has a compiler keep values that it would else compute again for each reader.

A compiler that fuses loops puts the code for a value into the place of each of its
readers. That is right for one reader, and for a few. But where a step of a program
reads shifted, reversed or padded copies of what the step before has made, the copies of
the code multiply from step to step: by three for ``x[:-2] + x[1:-1] + x[2:]``.

So readings are counted, from results to parameters. An instruction that computes
element by element reads its operands where it is read itself; one that moves elements
reads them somewhere else, once for each place where it is read. A value that is read
at more than a few places gets a barrier, which code is not copied across. Then the
code of a module is at most that many times as long as the module.

What a custom call reads is in memory whatever becomes of its code. It gets a barrier
if loops read it, too: copies of the code would read what it is made of, and so have
this stay in memory as long as the program goes on.

What is stored into a large array, and made of other parts of it than it replaces, gets
one too: a loop that stores in place cannot read them, so that a compiler that makes one
of both has a copy of each part first: five arrays for a stencil, instead of two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count

from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule, callees
from nkipy.hlo.opcodes import OPCODES, CostKind
from nkipy.hlo.rewrites import lending
from nkipy.hlo.rewrites.base import Place, is_filled, rewrite

Value = HLOInstruction
#: Where a value is read; only how many places there are matters, and which are equal.
Places = frozenset[int]

#: At how many places the code for a value may be.
MOST_PLACES = 6
#: How many instructions may be in a row in one loop: code for it takes a compiler a
#: time that grows with the square.
MOST_IN_A_ROW = 256

#: Bytes of an array into which parts are stored; copies of a smaller one cost little,
#: and barriers keep small loops from being made well.
_LARGE = 1 << 20

#: What takes the place of its readers, and reads where it is read, or elsewhere.
_SAME_PLACE = frozenset({CostKind.ELEMENTWISE})
_OTHER_PLACE = frozenset({CostKind.VIEW, CostKind.TRANSPOSE, CostKind.MOVE})
#: What is only renamed: ``bitcast-convert``, and ``reshape``, which is another place.
_RENAME = CostKind.RENAME
_LEAVES = frozenset({"parameter", "constant", "iota", "get-tuple-element"})
_NEVER_FUSED = frozenset({"scatter", "opt-barrier"})


def bound_duplication(module: HLOModule) -> HLOModule:
    """`module` with barriers where code would multiply; itself if nowhere."""
    computations = [*lending.controlled(module), module.entry]
    kept: set[Value] = set()
    for computation in computations:
        results = module.results if computation is module.entry else [computation.root]
        kept.update(_to_keep(computation, [r for r in results if r is not None]))
    if not kept:
        return module

    def rule(inst: Value, operands: tuple[Value, ...], place: Place) -> Value | None:
        if inst not in kept:
            return None
        b = place.builder
        made = b.emit(inst.opcode, operands, inst.shape, inst.dtype, inst.attributes)
        return b.emit("opt-barrier", (made,), inst.shape, inst.dtype)

    return rewrite(module, rule)


def _to_keep(computation: HLOComputation, results: Iterable[Value]) -> Iterator[Value]:
    """The values that get a barrier."""
    numbers = count()
    is_moved = _moved_leaves(computation)
    places: dict[Value, Places] = {}
    rows: dict[Value, int] = {}
    in_memory: set[Value] = set()
    whole = {result: frozenset((next(numbers),)) for result in results}
    for inst in reversed(computation.instructions):
        if _replaces_what_it_reads(inst) and not is_moved[inst.operands[1]]:
            yield inst.operands[1]
        in_loops = places.pop(inst, frozenset())
        read = in_loops | whole.get(inst, frozenset())
        row = rows.pop(inst, 0) + 1
        if not _is_fused(inst):
            for operand in inst.operands:
                whole.setdefault(operand, frozenset((next(numbers),)))
            if inst.opcode == "custom-call":
                in_memory.update(inst.operands)
            continue
        if inst in in_memory and inst.opcode == "reshape":
            in_memory.update(inst.operands)
        is_copied = inst in in_memory and in_loops
        many = len(read) > MOST_PLACES or row > MOST_IN_A_ROW or not read
        if (many or is_copied) and not _is_repeated(inst):
            read, row = frozenset((next(numbers),)), 1
            # What is only moved costs little to do again; reducers are not copied.
            if not is_moved[inst] and not callees(inst):
                yield inst
        for operand in inst.operands:
            where = read
            if not _reads_in_place(inst):
                where = frozenset([next(numbers) for _ in read])
            places[operand] = places.get(operand, frozenset()) | where
            rows[operand] = max(rows.get(operand, 0), row)


def _replaces_what_it_reads(store: Value) -> bool:
    """Whether parts of an array are stored that are made of other parts of it."""
    if store.opcode != "dynamic-update-slice" or store.nbytes < _LARGE:
        return False
    array, update, *starts = store.operands
    if not _is_fused(update):
        return False
    seen, stack = {update}, [update]
    while stack:
        inst = stack.pop()
        for operand in inst.operands:
            if operand is array:
                if not _is_same_part(inst, update, starts):
                    return True
            elif operand not in seen and _is_fused(operand):
                seen.add(operand)
                stack.append(operand)
    return False


def _is_same_part(part: Value, update: Value, starts: Iterable[Value]) -> bool:
    """Whether it is a slice of what an update replaces."""
    if part.shape != update.shape:
        return False
    if part.opcode == "dynamic-slice":
        return part.operands[1:] == tuple(starts)
    if part.opcode != "slice":
        return False
    own = part.attributes
    return all(step == 1 for step in own["strides"]) and all(
        is_filled(start, low) for start, low in zip(starts, own["starts"])
    )


def _is_fused(inst: Value) -> bool:
    if inst.opcode in _NEVER_FUSED or inst.opcode in _LEAVES:
        return False
    kind = OPCODES[inst.opcode].cost.kind
    return kind in _SAME_PLACE or kind in _OTHER_PLACE or kind is _RENAME


def _is_repeated(inst: Value) -> bool:
    """Whether its operand is what to keep, which takes less memory."""
    return inst.opcode == "broadcast" and inst.operands[0].nbytes < inst.nbytes


def _reads_in_place(inst: Value) -> bool:
    kind = OPCODES[inst.opcode].cost.kind
    return kind in _SAME_PLACE or inst.opcode == "bitcast-convert"


def _moved_leaves(computation: HLOComputation) -> dict[Value, bool]:
    """Whether a value is one of a leaf, or of several, that is only moved."""
    found: dict[Value, bool] = {}
    for inst in computation.instructions:
        if inst.opcode in _LEAVES or not _is_fused(inst):
            found[inst] = True
        else:
            moves = not _reads_in_place(inst) or inst.opcode == "bitcast-convert"
            found[inst] = moves and all(found[o] for o in inst.operands)
    return found
