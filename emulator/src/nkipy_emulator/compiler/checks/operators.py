"""Operators that the vendor's compiler does not have, or not for all types."""

from __future__ import annotations

from collections.abc import Iterator

from nkipy.hlo.ir import HLOInstruction
from nkipy.hlo.opcodes.compiled import UNSUPPORTED
from nkipy_emulator.compiler.diagnostics import Diagnostic, about
from nkipy_emulator.compiler.options import CompileOptions


def unsupported(inst: HLOInstruction, options: CompileOptions) -> Iterator[Diagnostic]:
    """NCC_EVRF001: the documentation says so of the opcode; of others it is silent."""
    yield about(
        inst,
        UNSUPPORTED,
        f"Operator {inst.opcode} is not supported on {options.target.name}. "
        "list-operators prints those that are.",
    )


def shift_right_arithmetic(
    inst: HLOInstruction, options: CompileOptions
) -> Iterator[Diagnostic]:
    """NCC_EVRF022."""
    first = inst.operands[0].dtype
    if first.itemsize != 4:
        yield about(
            inst,
            "NCC_EVRF022",
            f"Shift-right-arithmetic of {first.name} is not supported; its first "
            "argument has to have 32 bits. Cast it to int32 or uint32.",
        )
