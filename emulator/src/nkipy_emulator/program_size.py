"""How large a program may be for XLA, which does not look before it takes memory.

XLA puts computations into the place of their calls, so that what counts is how many
instructions there are then: a chain of computations that call the next one twice has
few, and doubles them at each step. It also follows operands by recursion, which takes
stack for each instruction that waits for another one. And it takes a megabyte for each
loop that it makes code of with care, unless it has made one like it before.
"""

from __future__ import annotations

from math import prod
from typing import Any

from nkipy.hlo.instruction import callees, callees_of
from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule
from nkipy.hlo.opcodes import OPCODES, CostKind
from nkipy_emulator.errors import ProgramSizeError

#: Instructions, each computation counted as often as it is called.
MAX_INSTRUCTIONS = 200_000
#: Instructions of which each one has the one before as an operand. XLA has compiled
#: 10,000, in a minute, and overflows its stack before 30,000.
MAX_DEPTH = 12_000
#: Instructions unlike each other, above which code is made with less care. Of 2,000
#: slices at different places, it takes 2 gigabytes otherwise.
MANY_KINDS = 256
#: What a product counts as among them: code is made for each by itself, and takes as
#: long as that of several others.
KINDS_OF_A_PRODUCT = 3
#: Elements of the largest array that is a small one, and those of all arrays that a
#: call makes in little time, whatever the code.
SMALL_ARRAY = 4096
FEW_ELEMENTS = 1 << 18
#: Kinds of instructions, above which that of such a call is made with less care.
MANY_KINDS_OF_A_QUICK_CALL = 128
#: Elements of a loop that is worth being made by other code, and instructions of a
#: module that is compiled by it in about the same time.
LONG_LOOP = 1 << 14
FEW_INSTRUCTIONS = 256
#: What runs its computations more than once.
_LOOPS = frozenset({"while"})
#: What is no loop of its own.
_NO_LOOPS = frozenset({"parameter", "constant", "tuple", "get-tuple-element"})
#: What has elements of one array beside those of another.
_SEAMS = frozenset({"concatenate", "pad"})


def check_size(module: HLOModule) -> int:
    """The number of instructions with those of called computations.

    Raises:
        ProgramSizeError: it is too large, or too many wait for each other in a row.
    """
    counts: dict[HLOComputation, int] = {}
    depths: dict[HLOComputation, int] = {}
    for computation in module.computations():
        depth: dict[HLOInstruction, int] = {}
        count = 0
        for inst in computation.instructions:
            count += 1
            inside = before = 0
            for callee in callees(inst):
                count += counts[callee]
                inside = max(inside, depths[callee])
            for operand in inst.operands:
                before = max(before, depth[operand])
            depth[inst] = 1 + before + inside
        counts[computation] = count
        depths[computation] = max(depth.values(), default=0)
    _refuse_above(MAX_INSTRUCTIONS, counts[module.entry], module, "instructions")
    _refuse_above(MAX_DEPTH, depths[module.entry], module, "instructions in a row")
    return counts[module.entry]


def is_varied(module: HLOModule) -> bool:
    """Whether it has more than `MANY_KINDS` of instructions; like layers count once."""
    loops = [i for i in module.instructions() if i.opcode not in _NO_LOOPS]
    return len(loops) > MANY_KINDS and len(set(map(_kind, loops))) > MANY_KINDS


def takes_longer_to_compile(module: HLOModule, traced: HLOModule) -> bool:
    """Whether a call takes little time, whatever the code, beside that of compiling it.

    Args:
        module: what is compiled.
        traced: the same program, before repeated steps of it became loops.
    """
    if is_varied(module) and is_small(module):
        return True
    if not is_small(traced):
        return False
    loops = [i for i in module.instructions() if i.opcode not in _NO_LOOPS]
    products = sum(i.opcode == "dot" for i in loops)
    kinds = len(set(map(_kind, loops))) + KINDS_OF_A_PRODUCT * products
    return (
        kinds > MANY_KINDS_OF_A_QUICK_CALL
        and sum(map(_elements, traced.instructions())) <= FEW_ELEMENTS
    )


def _elements(inst: HLOInstruction) -> int:
    """How many it makes, if what it stores into is not copied."""
    kind = OPCODES[inst.opcode].cost.kind
    if kind in (CostKind.SOURCE, CostKind.RENAME):
        return 0
    made = inst.operands[1] if inst.opcode == "dynamic-update-slice" else inst
    return prod(made.shape)


def is_small(module: HLOModule) -> bool:
    """Whether it has no array of more than `SMALL_ARRAY` elements, and no loop.

    Then a call takes little time, whatever the code, beside that of compiling it.
    """
    return all(
        i.opcode not in _LOOPS
        and i.tuple_shapes is None
        and prod(i.shape) <= SMALL_ARRAY
        for i in module.instructions()
    )


def has_odd_loops(module: HLOModule) -> bool:
    """Whether a loop over one axis has an odd number of elements, and few others are.

    XLA's fusion emitters make a vector of as many elements as divide that number, which
    is none: such a loop takes four times as long.
    """
    count = 0
    found = False
    for inst in module.instructions():
        count += 1
        if OPCODES[inst.opcode].cost.kind is CostKind.ELEMENTWISE:
            size = prod(inst.shape)
            found |= size % 2 == 1 and size >= LONG_LOOP and size == max(inst.shape)
    return found and count <= FEW_INSTRUCTIONS


def has_seams(module: HLOModule) -> bool:
    """Whether a loop may have to choose, for each element, which array it reads.

    LLVM divides such a loop at its highest level only.
    """
    return any(i.opcode in _SEAMS for i in module.instructions())


def _kind(inst: HLOInstruction) -> tuple[Any, ...]:
    """What the code for an instruction depends on."""
    operands = tuple([(o.dtype, o.shape) for o in inst.operands])
    given = inst.attributes.items()
    attributes = [repr(item) for item in given if not callees_of(dict([item]))]
    inner = [i.opcode for c in callees(inst) for i in c.instructions]
    return inst.opcode, inst.dtype, inst.shape, operands, (*attributes, *inner)


def _refuse_above(limit: int, found: int, module: HLOModule, what: str) -> None:
    if found > limit:
        number = f"{found:,}" if found < 10**12 else "more than 10**12"
        raise ProgramSizeError(
            f"module {module.name!r} has {number} {what}, with those of computations "
            f"as often as they are called; XLA can stand {limit:,}. Write repetitions "
            "as loops, or divide the program"
        )
