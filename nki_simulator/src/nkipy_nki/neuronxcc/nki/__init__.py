"""The first generation of the kernel language, as ``neuronxcc.nki`` had it.

It was that of SDK 2.20 to 2.26: instructions return their results, masks say where
they are carried out, and tiles have operators. Each instruction is one of today's
records, so that checks, programs and times are the same.
"""

from __future__ import annotations

from typing import Any

from nkipy_nki.neuronxcc.nki import compiler, isa, language, typing
from nkipy_nki.neuronxcc.nki.faults import refusing
from nkipy_nki.neuronxcc.nki.kernel import (
    baremetal,
    benchmark,
    jit,
    profile,
    simulate_kernel,
    trace,
)

#: Why what the documentation names is not there.
REFUSED = {
    "FrameworkKernel": "frameworks made custom calls by it; nkipy's own op, of "
    "nki_custom_op, does that here",
}
__getattr__: Any = refusing("nki", __name__, REFUSED)

__nkipy_internal__ = True  # see nkipy.core.roles

__all__ = [
    "baremetal",
    "benchmark",
    "compiler",
    "isa",
    "jit",
    "language",
    "profile",
    "simulate_kernel",
    "trace",
    "typing",
]
