"""What checks are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nkipy.hlo.ir import HLOInstruction
from nkipy_emulator.compiler.diagnostics import Diagnostic
from nkipy_emulator.compiler.options import CompileOptions

Check = Callable[[HLOInstruction, CompileOptions], Iterator[Diagnostic]]
