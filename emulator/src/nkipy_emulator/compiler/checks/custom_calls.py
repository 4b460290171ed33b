"""Custom calls: those that there is a record of, and those that run here."""

from __future__ import annotations

from collections.abc import Iterator

from nkipy.hlo.ir import HLOInstruction
from nkipy_emulator.compiler.diagnostics import Diagnostic, about
from nkipy_emulator.compiler.options import CompileOptions


def target(inst: HLOInstruction, options: CompileOptions) -> Iterator[Diagnostic]:
    """What the target's record refuses; NCC_EVRF015 if there is none.

    A warning where a handler has to be registered to run the call.
    """
    # Imported here: few programs have custom calls.
    from nkipy.hlo import custom_calls

    name = inst.attributes["custom_call_target"]
    try:
        record = custom_calls.find(name)
        if record is not None:
            record.aliases_in(inst)
    except (custom_calls.EntryPointError, custom_calls.CustomCallError) as e:
        yield about(inst, "NKIPY_EMU002", f"Custom call to {name!r}: {e}")
        return
    if record is None:
        yield about(
            inst,
            "NCC_EVRF015",
            f"Custom call to {name!r}, a target that is not recognized. Recognized are "
            f"{', '.join(custom_calls.recognized_targets())}.",
        )
        return
    for refusal in record.check(inst, options.target.name):
        yield about(inst, refusal.code, refusal.message)
    if not record.is_computed:
        yield about(
            inst,
            "NKIPY_EMU001",
            f"Custom call to {name!r}: the emulator runs it only if "
            "nkipy_emulator.register_custom_call has given it a handler by then.",
            is_warning=True,
        )
