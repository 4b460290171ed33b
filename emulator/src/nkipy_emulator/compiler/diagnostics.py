"""What the compiler has to say about a program: codes, texts, places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nkipy.hlo.ir import HLOInstruction, SourceLocation

#: The codes that can occur, and what each is about. Those that start with NCC_ are the
#: vendor's, whose documentation has a page for each.
CODES = {
    "NCC_EARG001": "logical core configuration that the target does not have",
    "NCC_EMOD025": "dynamic shape",
    "NCC_ESFH002": "unsigned 64-bit constant beyond 32 bits",
    "NCC_ESPP004": "element type that the target does not have",
    "NCC_ESPP047": "8-bit float type that the target does not have",
    "NCC_EVRF001": "operator that the compiler does not have",
    "NCC_EVRF004": "complex element type",
    "NCC_EVRF005": "8-bit float type without negative zero",
    "NCC_EVRF006": "random number algorithm other than the default",
    "NCC_EVRF009": "tensors that do not fit the device's memory",
    "NCC_EVRF010": "convolution with input and kernel dilated",
    "NCC_EVRF011": "convolution with strides and input dilated",
    "NCC_EVRF013": "TopK of integers",
    "NCC_EVRF015": "custom call to an unknown target",
    "NCC_EVRF016": "scatter that reduces booleans or narrow integers",
    "NCC_EVRF017": "reduce-window with base dilation",
    "NCC_EVRF018": "reduce-window with window dilation",
    "NCC_EVRF019": "reduce-window of several operands",
    "NCC_EVRF022": "arithmetic right shift of other than 32 bits",
    "NCC_EVRF031": "scatter to indices out of bounds",
    "NCC_EVRF035": "product of integer matrices",
    "NCC_EVRF051": "F8E4M3FN before trn3",
    "NCC_EVRF056": "gather from indices out of bounds",
    "NCC_EVRF060": "scatter that reduces 32- or 64-bit integers",
    "NCC_EVRF061": "all-reduce of 32- or 64-bit integers",
    "NCC_EVRF062": "power of 64-bit integers",
    "NCC_EVRF063": "reduce-scatter of 32- or 64-bit integers",
    "NCC_EVRF064": "malformed HLO",
    "NKIPY_EMU001": "what the vendor's compiler takes and the emulator does not",
    "NKIPY_EMU002": "record of a custom call that is broken, or not one for this call",
}


@dataclass(frozen=True)
class Diagnostic:
    """One finding.

    Attributes:
        code: a key of :data:`CODES`.
        message: what is wrong, and what helps.
        instruction: the instruction in HLO's notation, if it is about one.
        location: the line of the user's program that it comes from, if known.
        is_warning: compilation goes on.
    """

    code: str
    message: str
    instruction: str = ""
    location: SourceLocation | None = None
    is_warning: bool = False

    def __str__(self) -> str:
        lines = [f"[{self.code}] {self.message}"]
        if self.instruction:
            lines.append(f"    {self.instruction}")
        if self.location is not None:
            lines.append(f"    at {self.location}")
        return "\n".join(lines)


def about(
    inst: HLOInstruction, code: str, message: str, *, is_warning: bool = False
) -> Diagnostic:
    """A finding about one instruction."""
    operands = ", ".join(o.shape_text() for o in inst.operands)
    label = f"%{inst.name}" if inst.name else "%?"
    text = f"{label} = {inst.shape_text()} {inst.opcode}({operands})"
    return Diagnostic(code, message, text, inst.source_location, is_warning)


class CompilationError(Exception):
    """A program cannot be compiled.

    Attributes:
        diagnostics: why; at least one of them is an error.
    """

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__("\n".join(map(str, diagnostics)))
        self.diagnostics = tuple(diagnostics)


class UsageError(Exception):
    """The command line, or a file that it names, cannot be used."""
