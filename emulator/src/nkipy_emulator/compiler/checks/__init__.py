"""Whether the vendor's compiler would take a program, as far as it is documented.

Each check looks at one instruction (or at the module) and yields what is wrong. The
program is well-formed already: see :mod:`nkipy.hlo.verifier`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nkipy.hlo.ir import HLOModule
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

#: Checks by the opcode that they are about.
_BY_OPCODE: dict[str, tuple[Check, ...]] = {
    "constant": (types.wide_constant,),
    "convolution": (windows.convolution,),
    "reduce-window": (windows.reduce_window,),
    "dot": (integers.dot,),
    "scatter": (integers.scatter, indices.scatter),
    "gather": (indices.gather,),
    "all-reduce": (integers.all_reduce,),
    "reduce-scatter": (integers.reduce_scatter,),
    "power": (integers.power,),
    "shift-right-arithmetic": (operators.shift_right_arithmetic,),
    "custom-call": (custom_calls.target,),
    **dict.fromkeys(operators.UNSUPPORTED, (operators.unsupported,)),
}
#: What the emulator computes all the same: warnings if the user asks for that.
_RUNS_HERE = frozenset(
    {
        *("NCC_EVRF001", "NCC_EVRF009", "NCC_EVRF010", "NCC_EVRF011", "NCC_EVRF013"),
        *("NCC_EVRF016", "NCC_EVRF017", "NCC_EVRF018", "NCC_EVRF019", "NCC_EVRF022"),
        *("NCC_EVRF031", "NCC_EVRF035", "NCC_EVRF051", "NCC_EVRF056", "NCC_EVRF060"),
        *("NCC_EVRF061", "NCC_EVRF062", "NCC_EVRF063", "NCC_ESFH002"),
    }
)


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
        for check in _BY_OPCODE.get(inst.opcode, ()):
            yield from check(inst, options)
