"""How long the loops of a program take, which tells whether threads are to share them.

XLA has all threads share a loop over 20 kilobytes, which takes one of them two
microseconds. To hand a part of it to another thread, and to wait for that, takes longer
than a tenth of a millisecond where the other one sleeps.
"""

from __future__ import annotations

from math import prod

from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule
from nkipy.hlo.opcodes import OPCODES, CostKind
from nkipy.hlo.opcodes.cost import VECTOR
from nkipy.hlo.rewrites.lending import controlled

#: Work of a loop that several threads share, where an addition of one element is one:
#: about a tenth of a millisecond (measured: chains of functions of elements, sums of
#: rows, and sums of products of 4,096 to 1,048,576 elements).
SHARED_WORK = 1 << 21
#: What an element counts as that a function like exp is computed of, that is moved, and
#: that is reduced: sums are taken in order.
_FUNCTION, _MOVED, _REDUCED = 4, 4, 7
#: What is computed within the loop of what uses it.
_WITHIN = frozenset({CostKind.RENAME, CostKind.VIEW})


def has_long_loops(module: HLOModule) -> bool:
    """Whether a loop, as XLA may fuse them, has `SHARED_WORK` or more."""
    return any(
        _most_work(computation) >= SHARED_WORK
        for computation in (module.entry, *controlled(module))
    )


def _most_work(computation: HLOComputation) -> int:
    """That of the longest chain of instructions that may be one loop."""
    chains: dict[HLOInstruction, int] = {}
    most = 0
    for inst in computation.instructions:
        before = max((chains.get(x, 0) for x in inst.operands), default=0)
        kind = OPCODES[inst.opcode].cost.kind
        if kind is CostKind.ELEMENTWISE:
            chains[inst] = before + _elements(inst) * _weight(inst)
        elif kind in _WITHIN:
            chains[inst] = before
        work = chains.get(inst) or before + _alone(inst, kind)
        most = max(most, work)
    return most


def _weight(inst: HLOInstruction) -> int:
    cost = OPCODES[inst.opcode].cost
    return cost.steps * (1 if cost.engine == VECTOR else _FUNCTION)


def _alone(inst: HLOInstruction, kind: CostKind) -> int:
    """The work of what is no function of elements, and is shared as loops are."""
    if kind is CostKind.REDUCE:
        return _elements(inst.operands[0]) * _REDUCED
    if kind is CostKind.WINDOW:
        window = prod(axis.size for axis in inst.attributes["window"])
        return _elements(inst) * window * _REDUCED
    if kind in (CostKind.MOVE, CostKind.TRANSPOSE):
        return _elements(inst) * _MOVED
    return 0


def _elements(inst: HLOInstruction) -> int:
    return 0 if inst.tuple_shapes is not None else prod(inst.shape)
