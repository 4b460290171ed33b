"""How large a program may be for XLA, which does not look before it takes memory.

XLA puts computations into the place of their calls, so that what counts is how many
instructions there are then: a chain of computations that call the next one twice has
few, and doubles them at each step. It also follows operands by recursion, which takes
stack for each instruction that waits for another one.
"""

from __future__ import annotations

from nkipy.hlo.instruction import callees_of
from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule
from nkipy_emulator.errors import ProgramSizeError

#: Instructions, each computation counted as often as it is called.
MAX_INSTRUCTIONS = 200_000
#: Instructions of which each one has the one before as an operand. XLA has compiled
#: 10,000, in a minute, and overflows its stack before 30,000.
MAX_DEPTH = 12_000


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
            callees = callees_of(inst.attributes)
            count += 1 + sum(counts[c] for c in callees)
            inside = max((depths[c] for c in callees), default=0)
            before = max((depth[o] for o in inst.operands), default=0)
            depth[inst] = 1 + before + inside
        counts[computation] = count
        depths[computation] = max(depth.values(), default=0)
    _refuse_above(MAX_INSTRUCTIONS, counts[module.entry], module, "instructions")
    _refuse_above(MAX_DEPTH, depths[module.entry], module, "instructions in a row")
    return counts[module.entry]


def _refuse_above(limit: int, found: int, module: HLOModule, what: str) -> None:
    if found > limit:
        number = f"{found:,}" if found < 10**12 else "more than 10**12"
        raise ProgramSizeError(
            f"module {module.name!r} has {number} {what}, with those of computations "
            f"as often as they are called; XLA can stand {limit:,}. Write repetitions "
            "as loops, or divide the program"
        )
