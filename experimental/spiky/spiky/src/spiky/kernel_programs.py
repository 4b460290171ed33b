"""NKI kernels in a program: traced for the chip that it is compiled for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from nkipy.compiler.targets import (
    OVERRIDE_VARIABLE,
    CompilationTarget,
    resolve_target,
)
from nkipy.hlo.builder import Value
from nkipy.hlo.kernel_languages import emit_kernel
from spike_torch.lowering import Graph


def traced(nki: Any, kernel: Callable[..., Any], args: Sequence[Any]) -> Any:
    """A kernel as a program, with what that takes and gives.

    Args:
        nki: the language.
        kernel: the kernel, with its grid.
        args: its arguments, with a spec in place of each array.
    """
    return nki.embed(kernel, tuple(args), {}, _target())


def _target() -> str:
    """The chip that programs are compiled for; empty: what the environment says."""
    if os.environ.get(OVERRIDE_VARIABLE):
        return ""
    return str(resolve_target(CompilationTarget.DEFAULT).value)


def emitted(g: Graph, embedded: Any, operands: Sequence[Value]) -> list[Value]:
    """Add the call of a kernel that was traced: each of its outputs."""
    found = embedded.interface
    attributes = {"has_side_effect": True} if found.prints else {}
    return emit_kernel(
        *(g.b, embedded.program, found.outputs, found.aliases, operands, attributes)
    )
