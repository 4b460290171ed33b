"""Reductions and products of integers, which the engines compute as floats.

Whether that may be done silently is what ``--implicit-integer-downcast`` says.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.ir import HLOComputation, HLOInstruction
from nkipy_emulator.compiler.diagnostics import Diagnostic, about
from nkipy_emulator.compiler.options import CompileOptions

_AS_FLOAT = (
    "integers are computed as float32, which loses precision for values larger than "
    "2^24"
)


def _is_wide(dtype: np.dtype) -> bool:
    return dt.is_integer(dtype) and dtype.itemsize >= 4


def _finding(
    inst: HLOInstruction, options: CompileOptions, code: str, name: str, why: str
) -> Diagnostic:
    """An error, or a warning where the downcast `name` is allowed."""
    if name in options.downcasts:
        return about(inst, code, f"{why}.", is_warning=True)
    advice = f"Cast the operands, or pass --implicit-integer-downcast={name}."
    return about(inst, code, f"{why}. {advice}")


def dot(inst: HLOInstruction, options: CompileOptions) -> Iterator[Diagnostic]:
    """NCC_EVRF035. The first chips multiply 32-bit integers themselves."""
    wide = [o.dtype for o in inst.operands if _is_wide(o.dtype)]
    if not wide:
        return
    finding = _finding(
        inst,
        options,
        "NCC_EVRF035",
        "dot",
        f"Matrix product of {wide[0].name} on {options.target.name}: {_AS_FLOAT}",
    )
    has_it = options.target.chip.native_int32_dot
    is_native = has_it and all(d.itemsize == 4 for d in wide)
    if is_native and not finding.is_warning:
        finding = about(inst, finding.code, finding.message, is_warning=True)
    yield finding


def scatter(inst: HLOInstruction, options: CompileOptions) -> Iterator[Diagnostic]:
    """NCC_EVRF060 and, of booleans and narrow integers, NCC_EVRF016."""
    dtype = inst.operands[0].dtype
    if dt.is_float(dtype) or _only_overwrites(inst.attributes["to_apply"]):
        return
    code = "NCC_EVRF060" if _is_wide(dtype) else "NCC_EVRF016"
    why = f"Scatter that reduces values of {dtype.name}: {_AS_FLOAT}"
    yield _finding(inst, options, code, "scatter", why)


def _only_overwrites(update: HLOComputation) -> bool:
    return update.root is not None and update.root.opcode == "parameter"


def all_reduce(inst: HLOInstruction, options: CompileOptions) -> Iterator[Diagnostic]:
    """NCC_EVRF061."""
    yield from _collective(inst, options, "NCC_EVRF061", "all_reduce", "AllReduce")


def reduce_scatter(
    inst: HLOInstruction, options: CompileOptions
) -> Iterator[Diagnostic]:
    """NCC_EVRF063."""
    name, label = "reduce_scatter", "ReduceScatter"
    yield from _collective(inst, options, "NCC_EVRF063", name, label)


def _collective(
    inst: HLOInstruction, options: CompileOptions, code: str, name: str, label: str
) -> Iterator[Diagnostic]:
    dtype = inst.operands[0].dtype
    if _is_wide(dtype):
        why = f"{label} of {dtype.name}: {_AS_FLOAT}"
        yield _finding(inst, options, code, name, why)


def power(inst: HLOInstruction, options: CompileOptions) -> Iterator[Diagnostic]:
    """NCC_EVRF062."""
    dtype = inst.operands[0].dtype
    if dt.is_integer(dtype) and dtype.itemsize == 8:
        why = f"Power of {dtype.name}: 64-bit integers are computed with 32 bits"
        yield _finding(inst, options, "NCC_EVRF062", "pow", why)
