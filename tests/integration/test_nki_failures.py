"""Kernels that fail, or do not end, on an emulated core, as their users are told."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy.core.trace import trace_function
from nkipy.runtime import baremetal_jit
from nkipy_emulator.neff_writer import ProgramDescription, neff_bytes
from spike import NrtError
from tests.support import nrt_client
from tests.support.engines import ENGINES
from tests.support.libnrt import TIMEOUT

X = np.arange(8 * 16, dtype=np.float32).reshape(8, 16)


@nki.jit
def reads_what_is_not_there(x):
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    tile = nl.ndarray(x.shape, x.dtype, buffer=nl.sbuf)
    nisa.dma_copy(result, tile)
    return result


@nki.jit
def turned(x, times):
    """x, after so many turns of a loop."""
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    tile = nl.ndarray(x.shape, x.dtype, buffer=nl.sbuf)
    nisa.dma_copy(tile, x)

    def body(_):
        nisa.tensor_copy(tile, tile)

    nl.fori_loop(0, nisa.register_alloc(times), body)
    nisa.dma_copy(result, tile)
    return result


def _neff(times: int) -> bytes:
    module = trace_function(lambda x: turned(x, times), (X,), {}).module
    return neff_bytes(module, ProgramDescription())


def test_a_kernel_that_does_not_end_is_a_timeout(tmp_path, capfd):
    with nrt_client.session(tmp_path, NEURON_RT_EXEC_TIMEOUT="1") as nrt:
        inputs, out = nrt.tensor_set({"x": nrt.tensor(X)}), nrt.empty(X.nbytes)
        outputs = nrt.tensor_set({"output0": out})
        with pytest.raises(nrt_client.NrtFailure) as raised:
            nrt.execute(nrt.load(_neff(2**31 - 1)), inputs, outputs)
        assert raised.value.status == TIMEOUT
        assert "NEURON_RT_EXEC_TIMEOUT" in capfd.readouterr().err
        nrt.execute(nrt.load(_neff(3)), inputs, outputs)
        np.testing.assert_array_equal(nrt.read(out, X.shape, X.dtype), X)


def _tell() -> None:
    """Print what a failing kernel is told for."""
    try:
        baremetal_jit(lambda x: reads_what_is_not_there(x))(X)
    except NrtError as error:
        print(str(error).partition("how much it says); ")[2])


@pytest.mark.slow
def test_both_engines_say_the_same_of_a_kernel_that_fails():
    told = set()
    for engine in ENGINES:
        variables = {"NKIPY_EMULATOR_ENGINE": engine}
        done = subprocess.run(
            [sys.executable, "-m", __name__],
            env={**os.environ, **variables, "NKIPY_EMULATOR_PYTHON": sys.executable},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        told.add(done.stdout)
    (text,) = told
    assert text.startswith(
        "NkiValidationError: dma_copy: src reads 128 of 128 elements"
    )
    line = reads_what_is_not_there.func.__code__.co_firstlineno + 4
    assert f"{__file__}:{line}" in text


if __name__ == "__main__":
    _tell()
