"""Gives the child engine the damaged modules that our reader takes, as NEFFs.

It runs them or has a status for each. That it has died is none.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from neff import NeffError
from neff.status import NrtStatus
from nkipy.hlo.ir import HLOModule
from nkipy_emulator.neff_writer import ProgramDescription, neff_bytes
from tests.fuzz.fuzz_engine import attempt_with, can_run, operand
from tests.fuzz.fuzz_hlo import make
from tests.fuzz.harness import main
from tests.support.engines import CHILD
from tests.support.nrt_client import Nrt, NrtFailure, session

#: What a child that is alive says.
REFUSALS = {
    NrtStatus.INVALID,
    NrtStatus.UNSUPPORTED_NEFF_VERSION,
    NrtStatus.RESOURCE,
}


def run_on(nrt: Nrt, module: HLOModule, raw: bytes) -> str:
    if not can_run(module):
        return "not run"
    try:
        model = nrt.load(neff_bytes(module, ProgramDescription()))
    except (NeffError, ValueError):
        return "refused by the writer of NEFFs"
    except NrtFailure as e:
        if e.status not in REFUSALS:
            raise
        return "refused by the child"
    parts = [(p.name, operand(p.nbytes, raw)) for p in module.parameters if p.nbytes]
    inputs = {str(name): nrt.tensor(data) for name, data in parts}
    named = zip(module.output_names, module.results)
    outputs = {name: nrt.empty(r.nbytes) for name, r in named if r.nbytes}
    sets = nrt.tensor_set(inputs), nrt.tensor_set(outputs)
    nrt.execute(model, *sets)
    nrt.destroy(*sets)
    for tensor in (*inputs.values(), *outputs.values()):
        nrt.free(tensor)
    nrt.unload(model)
    return "run"


def fuzz() -> int:
    with tempfile.TemporaryDirectory() as locks:
        with session(Path(locks), **CHILD) as nrt:
            return main(
                make, lambda raw: attempt_with(raw, lambda m, r: run_on(nrt, m, r))
            )


if __name__ == "__main__":
    sys.exit(fuzz())
