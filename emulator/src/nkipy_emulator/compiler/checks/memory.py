"""Whether what a program has to hold at once fits a core's memory."""

from __future__ import annotations

from collections.abc import Iterator

from nkipy.hlo.ir import HLOModule
from nkipy.hlo.queries import constant_bytes
from nkipy_emulator.compiler.diagnostics import Diagnostic
from nkipy_emulator.compiler.options import CompileOptions


def check(module: HLOModule, options: CompileOptions) -> Iterator[Diagnostic]:
    """NCC_EVRF009: inputs, outputs and constants alone; intermediates come on top."""
    aliased = {a.output_index for a in module.aliases}
    tensors = [
        *module.parameters,
        *(r for i, r in enumerate(module.results) if i not in aliased),
    ]
    total = sum(t.nbytes for t in tensors) + constant_bytes(module)
    limit = options.target.chip.hbm_bank_bytes
    if total > limit:
        yield Diagnostic(
            "NCC_EVRF009",
            f"Inputs, outputs and constants have {total} bytes together; a core of "
            f"{options.target.name} has {limit}. Use smaller tensors or more cores.",
        )
