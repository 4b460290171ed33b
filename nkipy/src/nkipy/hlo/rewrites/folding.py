"""Which constants to hide from a compiler, so that it folds nothing to other values.

A compiler may put the computation of a loop, a branch or a call into the place of what
runs it. So constants are followed into computations, and out of them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import cycle

import ml_dtypes
import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule, callees_of
from nkipy.hlo.opcodes import OPCODES, CostKind, Keeps, OnCpu
from nkipy.hlo.rewrites import lending

Value = HLOInstruction
#: The leaves that an array depends on, if on nothing else: of any call that gives it.
Leaves = frozenset[Value]
#: Those of each element of a tuple, or of an array.
Parts = tuple[Leaves, ...]

#: The types whose subnormal numbers are flushed to zero by a thread that does so.
_FLUSHED = frozenset({dt.float32, dt.float64, dt.bfloat16})
_UNKNOWN: Leaves = frozenset()
#: What has a value of its own, whoever runs it.
_LEAVES = frozenset({"constant", "iota"})
_COMPUTING = frozenset(
    {
        *(CostKind.ELEMENTWISE, CostKind.REDUCE, CostKind.WINDOW),
        *(CostKind.DOT, CostKind.CONVOLUTION),
    }
)


def leaves_to_hide(module: HLOModule) -> set[Value]:
    """Constants enough that nothing which folds to something else is folded.

    Of each instruction's, the smallest one is enough; one that is only moved, such as
    a transposed matrix of weights, is folded as before. They are in the entry and in
    what loops, branches and calls run. So are those that would be taken for others.
    """
    return _Known(module).hidden | _taken_for_others(module)


def keeps(inst: Value) -> bool:
    """Whether elements are those of the operand, perhaps negated or converted."""
    return inst.opcode == "negate" or OPCODES[inst.opcode].keeps is not Keeps.NOTHING


def _folds_differently(inst: Value) -> bool:
    opcode = OPCODES[inst.opcode]
    if opcode.cost.kind not in _COMPUTING or keeps(inst):
        return False
    if OnCpu.FOLDS_OTHERWISE in opcode.on_cpu:
        return True
    return any(o.dtype is not None and dt.is_float(o.dtype) for o in inst.operands)


def _taken_for_others(module: HLOModule) -> set[Value]:
    """Constants like others but for subnormal numbers where those have zeros.

    XLA takes them for equal while it looks for common subexpressions, on a thread that
    flushes them, and gives what is moved of the one for what is moved of the other.
    """
    groups: dict[tuple[np.dtype, tuple[int, ...]], list[Value]] = {}
    for computation in (*lending.controlled(module), module.entry):
        for inst in computation.instructions:
            if inst.opcode == "constant" and inst.dtype in _FLUSHED:
                groups.setdefault((inst.dtype, inst.shape), []).append(inst)
    several = [group for group in groups.values() if len(group) > 1]
    return {inst for group in several for inst in _like_others(group)}


def _like_others(constants: Sequence[Value]) -> Iterator[Value]:
    """Those with subnormal numbers that are like another of this shape when flushed."""
    literals = [inst.attributes["literal"] for inst in constants]
    subnormal = [_subnormal(literal) for literal in literals]
    if not any(where.any() for where in subnormal):
        return
    flushed = [_digest(_flushed(*pair)) for pair in zip(literals, subnormal)]
    distinct: dict[bytes, set[bytes]] = {}
    for key, literal in zip(flushed, literals):
        distinct.setdefault(key, set()).add(_digest(literal))
    for inst, key, where in zip(constants, flushed, subnormal):
        if len(distinct[key]) > 1 and where.any():
            yield inst


def _subnormal(literal: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # bfloat16 warns of NaN
        return (np.abs(literal) < ml_dtypes.finfo(literal.dtype).tiny) & (literal != 0)


def _flushed(literal: np.ndarray, subnormal: np.ndarray) -> np.ndarray:
    """With zeros of the same sign in place of subnormal numbers."""
    made = literal.copy()
    made[subnormal] *= 0
    return made


def _digest(literal: np.ndarray) -> bytes:
    return sha256(literal.tobytes()).digest()


class _Known:
    """What is known of values in all computations, found by going over them.

    Attributes:
        hidden: the leaves to hide.
    """

    def __init__(self, module: HLOModule) -> None:
        self.hidden: set[Value] = set()
        self._entry = module.entry
        #: Of parameters and roots of computations that others run.
        self._shared: dict[Value, Parts] = {}
        self._has_changed = False
        callees_first = [*lending.controlled(module), module.entry]
        # Arguments go down to callees, and results up to callers.
        for order in cycle((callees_first[::-1], callees_first)):
            self._has_changed = False
            for computation in order:
                self._go_over(computation)
            if not self._has_changed:
                return

    def _go_over(self, computation: HLOComputation) -> None:
        parts: dict[Value, Parts] = {}
        for inst in computation.instructions:
            parts[inst] = self._parts(inst, [parts[o] for o in inst.operands])
        if computation is not self._entry and computation.root is not None:
            self._share(computation.root, parts[computation.root])

    def _parts(self, inst: Value, operands: Sequence[Parts]) -> Parts:
        if inst.opcode in _LEAVES:
            return (frozenset((inst,)),)
        if inst.opcode == "parameter":
            return self._shared.get(inst, _unknown(inst))
        if inst.opcode == "tuple":
            return tuple(leaves for (leaves,) in operands)
        if inst.opcode == "get-tuple-element":
            return (operands[0][inst.attributes["index"]],)
        if lending.is_control(inst):
            return self._of_control(inst, operands)
        arrays = [leaves for of_one in operands for leaves in of_one]
        if not self._are_known(arrays):
            return _unknown(inst)
        smallest = min(arrays, key=_nbytes)
        if _folds_differently(inst):
            self.hidden |= smallest
            return _unknown(inst)
        return (smallest,) * len(_unknown(inst))

    def _are_known(self, arrays: Sequence[Leaves]) -> bool:
        if not arrays or not all(arrays):
            return False
        return not any(leaves <= self.hidden for leaves in arrays)

    def _of_control(self, inst: Value, operands: Sequence[Parts]) -> Parts:
        """What comes out of it; what it gives to its computations is shared."""
        result = _unknown(inst)
        callees = callees_of(inst.attributes)
        given: Iterable[Sequence[Parts]] = (operands,) * len(callees)
        if inst.opcode == "conditional":
            given = ([of_branch] for of_branch in operands[1:])
        elif inst.opcode == "while":
            body = inst.attributes["body"]
            result = _either(operands[0], self._of_root(body))
            given = ([result],) * len(callees)
        for callee, arguments in zip(callees, given):
            for parameter, argument in zip(callee.parameters, arguments):
                self._share(parameter, argument)
            if inst.opcode != "while":
                result = _either(result, self._of_root(callee))
        return result

    def _of_root(self, computation: HLOComputation) -> Parts:
        root = computation.root
        assert root is not None
        return self._shared.get(root, _unknown(root))

    def _share(self, value: Value, parts: Parts) -> None:
        before = self._shared.get(value, _unknown(value))
        after = _either(before, parts)
        self._shared[value] = after
        self._has_changed |= after != before


def _unknown(inst: Value) -> Parts:
    return (_UNKNOWN,) * (1 if inst.tuple_shapes is None else len(inst.tuple_shapes))


def _either(x: Parts, y: Parts) -> Parts:
    return tuple(a | b for a, b in zip(x, y))


def _nbytes(leaves: Leaves) -> int:
    return sum(leaf.nbytes for leaf in leaves)
