"""Windows of convolutions and reductions."""

from __future__ import annotations

from collections.abc import Iterator

from nkipy.hlo.ir import HLOInstruction
from nkipy_emulator.compiler.diagnostics import Diagnostic, about
from nkipy_emulator.compiler.options import CompileOptions


def convolution(inst: HLOInstruction, options: CompileOptions) -> Iterator[Diagnostic]:
    """NCC_EVRF010 and NCC_EVRF011."""
    window = inst.attributes["window"]
    input_dilated = any(d.lhs_dilate > 1 for d in window)
    if input_dilated and any(d.rhs_dilate > 1 for d in window):
        yield about(
            inst,
            "NCC_EVRF010",
            "A convolution that dilates both its input and its kernel is not "
            "supported. Dilate one of them by hand.",
        )
    if input_dilated and any(d.stride > 1 for d in window):
        yield about(
            inst,
            "NCC_EVRF011",
            "A convolution with strides and a dilated input is not supported. "
            "Upsample and downsample separately.",
        )


def reduce_window(
    inst: HLOInstruction, options: CompileOptions
) -> Iterator[Diagnostic]:
    """NCC_EVRF017, NCC_EVRF018 and NCC_EVRF019."""
    window = inst.attributes["window"]
    if any(d.lhs_dilate > 1 for d in window):
        message = "A reduce-window with base dilation is not supported."
        yield about(inst, "NCC_EVRF017", message)
    if any(d.rhs_dilate > 1 for d in window):
        message = "A reduce-window with window dilation is not supported."
        yield about(inst, "NCC_EVRF018", message)
    if len(inst.operands) != 2:
        yield about(
            inst,
            "NCC_EVRF019",
            "A reduce-window takes one input and one initial value; found "
            f"{len(inst.operands)} operands. Reduce each input by itself.",
        )
