"""Gives XLA the damaged modules that our reader takes: it compiles or refuses them.

XLA ends the process on some malformed modules. That none of these gets past the reader
is what this looks for; start it with ``--track`` to learn which one did.
"""

from __future__ import annotations

import sys

from nkipy.hlo.errors import HLOProtoError, HLOVerificationError
from nkipy.hlo.ir import HLOModule
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.errors import SimulationError, UnsupportedCustomCallError
from tests.fuzz.fuzz_hlo import make
from tests.fuzz.harness import main

ENGINE = XlaCpuEngine()


def attempt(raw: bytes) -> str:
    """Read and compile it. Raises what the engine should not."""
    try:
        module = HLOModule.from_proto(raw)
    except (HLOProtoError, HLOVerificationError):
        return "refused by the reader"
    try:
        ENGINE.compile(module)
    except (SimulationError, UnsupportedCustomCallError):
        return "refused by the engine"
    return "compiled"


if __name__ == "__main__":
    sys.exit(main(make, attempt))
