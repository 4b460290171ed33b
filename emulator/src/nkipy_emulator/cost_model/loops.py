"""The number of iterations of a loop that counts, found without running it."""

from __future__ import annotations

from typing import NamedTuple

from nkipy.hlo.ir import HLOComputation, HLOInstruction
from nkipy.hlo.opcodes import OPCODES, Keeps

_SWAPPED = {"LT": "GT", "GT": "LT", "LE": "GE", "GE": "LE", "EQ": "EQ", "NE": "NE"}


class _Test(NamedTuple):
    position: int  # of the counter in the loop's state
    direction: str
    limit: int


def trip_count(loop: HLOInstruction) -> int | None:
    """How often the body of a ``while`` runs, or None if that is not plain to see.

    Seen is a counter in the loop's state that starts at a constant, to which the body
    adds or from which it subtracts one, and which the condition compares with a one.
    """
    test = _test(loop)
    if test is None:
        return None
    begin = _state_constant(loop, test.position)
    step = _step(loop.attributes["body"], test.position)
    if begin is None or step is None:
        return None
    return _count(begin, step, test)


def _count(begin: int, step: int, test: _Test) -> int | None:
    distance = test.limit - begin
    if test.direction == "NE":
        whole = step != 0 and distance % step == 0 and distance // step >= 0
        return distance // step if whole else None
    if test.direction in ("GT", "GE"):
        distance, step = -distance, -step
    if test.direction in ("LE", "GE"):
        distance += 1
    if distance <= 0:
        return 0
    return -(-distance // step) if step > 0 else None


def _test(loop: HLOInstruction) -> _Test | None:
    root = loop.attributes["condition"].root
    if root is None or root.opcode != "compare" or root.attributes["direction"] == "EQ":
        return None
    direction = root.attributes["direction"]
    left, right = root.operands
    if _constant(left) is not None:
        left, right, direction = right, left, _SWAPPED[direction]
    index, limit = _state_index(left), _limit(loop, right)
    if index is None or limit is None:
        return None
    return _Test(index, direction, limit)


def _limit(loop: HLOInstruction, inst: HLOInstruction) -> int | None:
    """A constant of the condition, or one in the state that the body leaves alone."""
    value = _constant(inst)
    index = _state_index(inst)
    if value is not None or index is None:
        return value
    body = loop.attributes["body"]
    kept = _body_result(body, index)
    if kept is None or _state_index(kept) != index:
        return None
    return _state_constant(loop, index)


def _step(body: HLOComputation, index: int) -> int | None:
    result = _body_result(body, index)
    if result is None or result.opcode not in ("add", "subtract"):
        return None
    left, right = result.operands
    if result.opcode == "add" and _state_index(left) is None:
        left, right = right, left
    step = _constant(right)
    if step is None or _state_index(left) != index:
        return None
    return step if result.opcode == "add" else -step


def _body_result(body: HLOComputation, index: int) -> HLOInstruction | None:
    root = body.root
    if root is None:
        return None
    if root.opcode == "tuple":
        return root.operands[index]
    return root if index == 0 and root.dtype is not None else None


def _state_index(inst: HLOInstruction) -> int | None:
    """Which element of the loop's state `inst` is."""
    if inst.opcode == "parameter" and inst.dtype is not None:
        return 0
    if inst.opcode == "get-tuple-element" and inst.operands[0].opcode == "parameter":
        return inst.attributes["index"]
    return None


def _state_constant(loop: HLOInstruction, index: int) -> int | None:
    state = loop.operands[0]
    if state.opcode == "tuple":
        return _constant(state.operands[index])
    return _constant(state) if index == 0 else None


def _constant(inst: HLOInstruction) -> int | None:
    if OPCODES[inst.opcode].keeps is Keeps.ALL:
        return _constant(inst.operands[0])
    if inst.opcode != "constant" or inst.shape or inst.dtype.kind not in "iu":
        return None
    return int(inst.attributes["literal"])
