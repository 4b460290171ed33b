"""Element types that a target does not have."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nkipy.chips import CHIPS
from nkipy.hlo import dtypes as dt
from nkipy.hlo.ir import HLOInstruction
from nkipy_emulator.compiler.diagnostics import Diagnostic, about
from nkipy_emulator.compiler.options import CompileOptions

_MAX_UINT32 = (1 << 32) - 1


def element_types(
    inst: HLOInstruction, options: CompileOptions
) -> Iterator[Diagnostic]:
    """NCC_ESPP004 of float64, NCC_EVRF051 of F8E4M3FN on chips that lack it."""
    if _introduces(inst, dt.float64):
        yield about(
            inst,
            "NCC_ESPP004",
            f"Data type f64 is not supported on {options.target.name}. "
            "Use float32, or a narrower type.",
        )
    if options.unsafe_fp8 or "float8_e4m3fn" in options.target.chip.dtypes:
        return
    if _introduces(inst, dt.float8_e4m3fn):
        yield about(
            inst,
            "NCC_EVRF051",
            f"Data type F8E4M3FN is not supported on {options.target.name}. Use "
            f"float8_e4m3 or float8_e5m2, target {_with_e4m3fn()}, or pass "
            "--experimental-unsafe-fp8e4m3fn-as-fp8e4m3.",
        )


def _with_e4m3fn() -> str:
    return " or ".join(c.name for c in CHIPS if "float8_e4m3fn" in c.dtypes)


def _introduces(inst: HLOInstruction, dtype: np.dtype) -> bool:
    """Whether the result has the type and no operand does, for one finding each."""
    if dtype not in _result_types(inst):
        return False
    return not any(dtype in _result_types(o) for o in inst.operands)


def _result_types(inst: HLOInstruction) -> tuple[np.dtype, ...]:
    if inst.tuple_shapes is None:
        return (inst.dtype,)
    return tuple(shape.dtype for shape in inst.tuple_shapes)


def wide_constant(
    inst: HLOInstruction, options: CompileOptions
) -> Iterator[Diagnostic]:
    """NCC_ESFH002: 64-bit constants become 32-bit ones, if their values fit."""
    literal = inst.attributes["literal"]
    if inst.dtype != dt.uint64 or not literal.size:
        return
    greatest = int(literal.max())
    if greatest > _MAX_UINT32:
        yield about(
            inst,
            "NCC_ESFH002",
            f"An unsigned 64-bit constant has the value {greatest}, which does not "
            "fit 32 bits.",
        )
