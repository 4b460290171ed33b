"""Whether the vendor's compiler would take a program, as far as it is documented.

Each check looks at one instruction (or at the module) and yields what is wrong. The
program is well-formed already: see :mod:`nkipy.hlo.verifier`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nkipy.hlo.errors import HLORecordError
from nkipy.hlo.ir import HLOModule
from nkipy.hlo.opcodes import OPCODES, Opcode
from nkipy.hlo.opcodes.compiled import UNSUPPORTED
from nkipy_emulator.compiler.checks import (
    custom_calls,
    indices,
    integers,
    memory,
    operators,
    types,
    windows,
)
from nkipy_emulator.compiler.checks.base import Check
from nkipy_emulator.compiler.diagnostics import Diagnostic
from nkipy_emulator.compiler.options import CompileOptions

#: More findings than anybody reads.
MAX_DIAGNOSTICS = 20

#: The check of each documented code that is about some opcode; several may share one.
#: Which codes are about an opcode, its record says.
_BY_CODE: dict[str, Check] = {
    "NCC_ESFH002": types.wide_constant,
    UNSUPPORTED: operators.unsupported,
    "NCC_EVRF010": windows.convolution,
    "NCC_EVRF011": windows.convolution,
    "NCC_EVRF015": custom_calls.target,
    "NCC_EVRF016": integers.scatter,
    "NCC_EVRF017": windows.reduce_window,
    "NCC_EVRF018": windows.reduce_window,
    "NCC_EVRF019": windows.reduce_window,
    "NCC_EVRF022": operators.shift_right_arithmetic,
    "NCC_EVRF031": indices.scatter,
    "NCC_EVRF035": integers.dot,
    "NCC_EVRF056": indices.gather,
    "NCC_EVRF060": integers.scatter,
    "NCC_EVRF061": integers.all_reduce,
    "NCC_EVRF062": integers.power,
    "NCC_EVRF063": integers.reduce_scatter,
}
#: What the emulator computes all the same: warnings if the user asks for that.
_RUNS_HERE = frozenset(
    {
        *(UNSUPPORTED, "NCC_EVRF009", "NCC_EVRF010", "NCC_EVRF011", "NCC_EVRF013"),
        *("NCC_EVRF016", "NCC_EVRF017", "NCC_EVRF018", "NCC_EVRF019", "NCC_EVRF022"),
        *("NCC_EVRF031", "NCC_EVRF035", "NCC_EVRF051", "NCC_EVRF056", "NCC_EVRF060"),
        *("NCC_EVRF061", "NCC_EVRF062", "NCC_EVRF063", "NCC_ESFH002"),
    }
)


def _checks_of(opcode: Opcode) -> tuple[Check, ...]:
    """The checks of one opcode, each once.

    Raises:
        HLORecordError: its record has a code that nothing here checks.
    """
    codes = opcode.compiled.refusals
    for code in codes:
        if code not in _BY_CODE:
            raise HLORecordError(
                f"the record of opcode {opcode.name!r} has the refusal {code}, which "
                "no check of the emulator's compiler gives"
            )
    return tuple(dict.fromkeys(_BY_CODE[code] for code in codes))


_BY_OPCODE = {name: _checks_of(opcode) for name, opcode in OPCODES.items()}


def check_module(module: HLOModule, options: CompileOptions) -> list[Diagnostic]:
    """The first findings, in the order of the program."""
    found: list[Diagnostic] = []
    for diagnostic in _all(module, options):
        if options.warn_only and diagnostic.code in _RUNS_HERE:
            diagnostic = replace(diagnostic, is_warning=True)
        found.append(diagnostic)
        if len(found) == MAX_DIAGNOSTICS:
            break
    return found


def _all(module: HLOModule, options: CompileOptions) -> Iterator[Diagnostic]:
    yield from memory.check(module, options)
    for inst in module.instructions():
        yield from types.element_types(inst, options)
        checks = _BY_OPCODE.get(inst.opcode)
        if checks is None:  # the record has been added since
            checks = _BY_OPCODE[inst.opcode] = _checks_of(OPCODES[inst.opcode])
        for check in checks:
            yield from check(inst, options)
