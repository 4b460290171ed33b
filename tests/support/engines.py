"""Runs modules in this process, or in the child engine of the emulated device."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from nkipy.hlo.ir import HLOModule
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.neff_writer import ProgramDescription, neff_bytes
from tests.support import nrt_client
from tests.support.engine import empty_results

ENGINES = ("inprocess", "child")
CHILD = {"NKIPY_EMULATOR_ENGINE": "child", "NKIPY_EMULATOR_PYTHON": sys.executable}

#: The results of a module for inputs in the order of its parameters.
Run = Callable[[HLOModule, Sequence[np.ndarray]], list[np.ndarray]]


def run_here(module: HLOModule, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Compile and run it once in this process."""
    outputs = empty_results(module)
    XlaCpuEngine().compile(module).run(inputs, outputs)
    return outputs


@contextmanager
def running(engine: str) -> Iterator[Run]:
    """What runs modules on one of :data:`ENGINES`.

    Parameters and results of a module for the child need names, and some bytes.
    """
    if engine == "inprocess":
        yield run_here
        return
    with tempfile.TemporaryDirectory() as locks:
        with nrt_client.session(Path(locks), **CHILD) as nrt:
            yield lambda module, inputs: _run_on(nrt, module, inputs)


def run_apart(module: str, *arguments: str, timeout: float) -> None:
    """Run the main program of a module of tests, which may crash, to its good end."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "NKIPY_EMULATOR_CODE_CACHE": "off"},
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-3000:])


def _run_on(
    nrt: nrt_client.Nrt, module: HLOModule, inputs: Sequence[np.ndarray]
) -> list[np.ndarray]:
    model = nrt.load(neff_bytes(module, ProgramDescription()))
    names = [p.name for p in module.parameters]
    given = {str(name): nrt.tensor(a) for name, a in zip(names, inputs)}
    results = {
        name: nrt.empty(result.nbytes)
        for name, result in zip(module.output_names, module.results)
    }
    sets = nrt.tensor_set(given), nrt.tensor_set(results)
    nrt.execute(model, *sets)
    outputs = [
        nrt.read(tensor, result.shape, result.dtype)
        for tensor, result in zip(results.values(), module.results)
    ]
    nrt.destroy(*sets)
    for tensor in (*given.values(), *results.values()):
        nrt.free(tensor)
    nrt.unload(model)
    return outputs


def no_prints(*printed: object) -> None:
    """What a program whose kernels print nothing is given to print by."""
    raise AssertionError(f"a kernel printed {printed}")
