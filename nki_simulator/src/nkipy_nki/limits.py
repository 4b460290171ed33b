"""What only the compiler refuses, as far as documents and its own messages tell.

An engine's access has few strides: up to four in a partition, and three in most
instructions. Strides that follow each other, as those of a contiguous tile, are one.
Transfers find an index that only the run knows by descriptors that are made meanwhile.
And a kernel is unrolled before it is compiled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from nkipy.chips import Chip
from nkipy_nki.engines import Engine
from nkipy_nki.findings import Findings
from nkipy_nki.program import Instruction, Line, Program, View, runs_of
from nkipy_nki.regions import ON_CHIP

__all__ = ["MOST_INSTRUCTIONS", "check_compiles", "check_size"]

#: What all accesses have beside that of partitions.
_STRIDES = 3
#: The compiler's own message says that more are "over the threshold".
MOST_INSTRUCTIONS = 5_000_000


def check_compiles(instruction: Instruction, chip: Chip, findings: Findings) -> None:
    """Report what an instruction asks of the compiler that it does not do.

    Raises:
        NkiValidationError: there is something, and it is an error.
    """
    if instruction.engine is Engine.dma:
        for name, view in instruction.views():
            if view.dynamic is not None:
                _check_index(instruction, name, view, chip, findings)
        return
    for name, operand in instruction.operands.items():
        if isinstance(operand, View) and len(operand.shape) > 1 + _STRIDES:
            _check_strides(instruction, name, operand, findings)


def _check_strides(
    instruction: Instruction, name: str, view: View, findings: Findings
) -> None:
    allowed = instruction.record.operands[name].strides
    count = len(runs_of(view.shape[1:], view.strides[1:]))
    if view.region not in ON_CHIP or count <= allowed:
        return
    findings.report(
        "too-many-strides",
        f"{name} has {count} strides beside that of partitions, and the engine's "
        f"access has {allowed}: its pattern is {list(zip(view.strides, view.shape))} "
        "(stride, count). Split the instruction, or copy to a contiguous tile first",
        instruction.line,
        instruction.record.name,
        operand=name,
        strides=count,
        allowed=allowed,
    )


# -- indices of transfers --------------------------------------------------------------
def _check_index(
    instruction: Instruction, name: str, view: View, chip: Chip, findings: Findings
) -> None:
    for problem in _index_problems(instruction, view, chip):
        findings.report(
            "dynamic-dma",
            f"{name} {problem}",
            instruction.line,
            instruction.record.name,
            operand=name,
        )
        return


def _index_problems(instruction: Instruction, view: View, chip: Chip) -> Iterator[str]:
    assert view.dynamic is not None
    mode: Any = instruction.attributes.get("dge_mode")
    given = getattr(mode, "name", "")
    if given == "none":
        yield (
            "has an index that is known at run time only, and descriptors are made "
            "before if dge_mode is none: let it be unknown, swdge or hwdge"
        )
    if view.dynamic.is_scalar:
        return
    if given == "hwdge":
        yield (
            "is indexed by a tensor, which hardware makes no descriptors for: let "
            "dge_mode be unknown or swdge"
        )
    if chip.generation < 3:
        yield (
            "is indexed by a tensor, which software makes descriptors for from gen3 "
            f"on, and the target is {chip.nki_name} ({chip.name})"
        )


# -- size ------------------------------------------------------------------------------
def check_size(program: Program, findings: Findings) -> None:
    """Report a program of too many instructions, at the line that makes the most.

    Loops of Python's are unrolled, so each iteration counts; a loop of the language's
    is compiled as one, and its body counts once.

    Raises:
        NkiValidationError: there are too many, and that is an error.
    """
    if not findings.wants("program-size"):
        return
    count = sum(1 for _ in program.instructions())
    if count <= MOST_INSTRUCTIONS:
        return
    lines: Counter[Line] = Counter(step.line for step in program.instructions())
    ((line, most),) = lines.most_common(1)
    findings.report(
        "program-size",
        f"the unrolled kernel has {count} instructions, {most} of this line, and the "
        f"compiler takes {MOST_INSTRUCTIONS}: let larger tiles do more at once, or use "
        "nl.fori_loop, whose body is compiled once",
        line,
        count=count,
        limit=MOST_INSTRUCTIONS,
    )
