"""Gives XLA the damaged modules that our reader takes: it runs or refuses them.

XLA ends the process on some malformed modules. That none of these gets past the reader
is what this looks for; start it with ``--track`` to learn which one did. What compiles
is run, on operands of damaged bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

from nkipy.hlo.errors import HLOProtoError, HLOVerificationError
from nkipy.hlo.ir import HLOModule
from nkipy.hlo.queries import collectives
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.errors import SimulationError, UnsupportedCustomCallError
from tests.fuzz.fuzz_hlo import make
from tests.fuzz.harness import main

ENGINE = XlaCpuEngine()
#: Of all operands and results of a module that is run.
MAX_BYTES = 1 << 24


def operand(nbytes: int, raw: bytes) -> np.ndarray:
    """As many bytes, from those of the module that they are for."""
    return np.resize(np.frombuffer(raw, np.uint8), nbytes)


def can_run(module: HLOModule) -> bool:
    """Whether it is small enough, and one rank runs it."""
    nbytes = sum(p.nbytes for p in (*module.parameters, *module.results))
    return nbytes <= MAX_BYTES and not any(collectives(module))


def attempt(raw: bytes) -> str:
    """Read, compile and run it. Raises what the engine should not."""
    return attempt_with(raw, _run_here)


def attempt_with(raw: bytes, run: Callable[[HLOModule, bytes], str]) -> str:
    try:
        module = HLOModule.from_proto(raw)
    except (HLOProtoError, HLOVerificationError):
        return "refused by the reader"
    return run(module, raw)


def _run_here(module: HLOModule, raw: bytes) -> str:
    try:
        executable = ENGINE.compile(module)
    except (SimulationError, UnsupportedCustomCallError):
        return "refused by the engine"
    if not can_run(module):
        return "compiled"
    inputs = [operand(p.nbytes, raw) for p in module.parameters]
    executable.run(inputs, [np.empty(r.nbytes, np.uint8) for r in module.results])
    return "run"


if __name__ == "__main__":
    sys.exit(main(make, attempt))
