"""``NKI_PRECISE_FP`` inside of programs: what a kernel was traced with is in them."""

from __future__ import annotations

import sys

import ml_dtypes
import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy.core.trace import trace_function
from nkipy.hlo.kernel_languages import TARGET
from nkipy.runtime import DeviceKernel, baremetal_jit, simulate_jit
from nkipy_emulator.neff_writer import ProgramDescription, neff_bytes
from nkipy_nki.embedding import interface, run
from nkipy_nki.replaying import replay
from nkipy_nki.wire import decode
from tests.support import nrt_client

VARIABLE = "NKI_PRECISE_FP"
X = np.linspace(-3, 3, 128 * 16).reshape(128, 16).astype(ml_dtypes.bfloat16)


@nki.jit
def scaled(x):
    """(x * 1.01) * 3, and x is set to that, in tiles of bfloat16."""
    result = nl.ndarray(x.shape, nl.bfloat16, buffer=nl.shared_hbm)
    tile = nl.ndarray(x.shape, nl.bfloat16)
    nisa.dma_copy(tile, x)
    nisa.tensor_scalar(tile, tile, nl.multiply, 1.01)
    nisa.tensor_scalar(tile, tile, nl.multiply, 3.0)
    nisa.dma_copy(result, tile)
    nisa.dma_copy(x, tile)
    return result


def kernel(x):
    y = x + x
    return scaled(y), y


def expected(is_precise: bool) -> np.ndarray:
    """Rounded after each product, or at the end."""
    once = (X + X).astype(np.float32) * np.float32(1.01)
    if is_precise:
        once = once.astype(ml_dtypes.bfloat16).astype(np.float32)
    return (once * np.float32(3)).astype(ml_dtypes.bfloat16)


def assert_is(result, is_precise: bool) -> None:
    for value in result:
        assert value.dtype == ml_dtypes.bfloat16
        assert value.tobytes() == expected(is_precise).tobytes()


def program_of(module) -> bytes:
    calls = (i for i in module.instructions() if i.opcode == "custom-call")
    (call,) = (i for i in calls if i.attributes["custom_call_target"] == TARGET)
    return call.attributes["backend_config"]


def test_the_two_differ():
    assert expected(True).tobytes() != expected(False).tobytes()


def test_the_program_says_it_and_replays_it(monkeypatch):
    programs = {}
    for value in "01":
        monkeypatch.setenv(VARIABLE, value)
        programs[value] = program_of(trace_function(kernel, (X,), {}).module)
    assert programs["0"] != programs["1"]
    for value, program in programs.items():
        assert interface(program).inputs == ((X.shape, X.dtype),)
        assert interface(program).outputs == ((X.shape, X.dtype),) * 2
        for other in "01":  # which is of no effect any more
            monkeypatch.setenv(VARIABLE, other)
            outputs = [np.zeros_like(X), X + X]
            run(program, [X + X], outputs)
            assert_is(outputs, value == "1")
    (alone, _) = replay(decode(programs["0"]), [(X + X).astype(np.float32)])
    monkeypatch.setenv(VARIABLE, "0")
    assert alone.tobytes() == nki.simulate(scaled)(X + X).tobytes()


def test_a_call_with_another_value_is_traced_anew(monkeypatch):
    for jit in (simulate_jit, baremetal_jit):
        compiled = jit(kernel)
        for value in ("1", "0", "1"):
            monkeypatch.setenv(VARIABLE, value)
            assert_is(compiled(X), value == "1")


@pytest.mark.device
def test_a_device_kernel_is_compiled_anew(monkeypatch):
    keys = []
    for value in ("1", "0", "1"):
        monkeypatch.setenv(VARIABLE, value)
        made = DeviceKernel.compile_and_load(kernel, X, name="scaled")
        keys.append(str(made.neff_path))
    assert keys[0] == keys[2] != keys[1]


@pytest.mark.device
@pytest.mark.parametrize("engine", ["inprocess", "child"])
@pytest.mark.parametrize("value", ["0", "1"])
def test_an_emulated_core_does_as_the_program_says(
    tmp_path, monkeypatch, engine, value
):
    with monkeypatch.context() as traced:
        traced.setenv(VARIABLE, value)
        module = trace_function(kernel, (X,), {}).module
    environment = {"NKIPY_EMULATOR_ENGINE": engine}
    environment["NKIPY_EMULATOR_PYTHON"] = sys.executable
    environment[VARIABLE] = "10"[int(value)]
    with nrt_client.session(tmp_path, **environment) as nrt:
        model = nrt.load(neff_bytes(module, ProgramDescription()))
        outputs = [nrt.empty(X.nbytes) for _ in range(2)]
        named = {f"output{i}": tensor for i, tensor in enumerate(outputs)}
        inputs = nrt.tensor_set({"x": nrt.tensor(X)})
        nrt.execute(model, inputs, nrt.tensor_set(named))
        assert_is([nrt.read(t, X.shape, X.dtype) for t in outputs], value == "1")
