"""Kernels that fail, or do not end, on an emulated core, as their users are told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy.core.trace import trace_function
from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule, Shape
from nkipy.runtime import baremetal_jit
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.neff_writer import ProgramDescription, neff_bytes
from spike import NrtError, SpikeModel, SpikeTensor
from tests.support import nrt_client
from tests.support.engines import CHILD, ENGINES
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


def _entry(times: int) -> HLOModule:
    """The kernel in the program itself."""
    return trace_function(lambda x: turned(x, times), (X,), {}).module


def _call_of(times: int, b: HLOBuilder, x: HLOInstruction) -> HLOInstruction:
    """The kernel's custom call, on another array."""
    calls = [i for i in _entry(times).instructions() if i.opcode == "custom-call"]
    (call,) = calls
    return b.emit(
        *(call.opcode, (x,), call.shape, call.dtype, call.attributes),
        tuple_shapes=call.tuple_shapes,
    )


def _first(b: HLOBuilder, value: HLOInstruction, index: int = 0) -> HLOInstruction:
    if value.tuple_shapes is None:
        return value
    dtype, dims = value.tuple_shapes[index]
    attributes = {"index": index}
    return b.emit("get-tuple-element", (value,), dims, dtype, attributes)


def _in_a_branch(times: int) -> HLOModule:
    """The kernel in a branch, which the data choose."""
    branches = HLOComputation("not"), HLOComputation("runs")
    for branch in branches:
        b, x = HLOBuilder(branch), branch.add_parameter(X.shape, X.dtype)
        branch.root = x if branch is branches[0] else _first(b, _call_of(times, b, x))
    made = HLOModule("branch")
    b, x = HLOBuilder(made.entry), made.add_parameter(X.shape, X.dtype, "x")
    first = b.reshape(b.slice(x, (7, 15), (8, 16)), ())
    chosen = b.convert(b.compare(first, b.scalar(0, X.dtype), "GT"), dt.int32)
    attributes = {"branches": branches}
    result = b.emit("conditional", (chosen, x, x), X.shape, X.dtype, attributes)
    made.set_results(result, ["output0"])
    return made


def _in_a_loop(times: int) -> HLOModule:
    """The kernel in a loop of two iterations."""
    parts = Shape(dt.int32, ()), Shape(dt.float32, X.shape)
    condition, body = HLOComputation("condition"), HLOComputation("body")
    b, state = (
        HLOBuilder(condition),
        condition.add_parameter((), None, "state", parts),
    )
    condition.root = b.compare(_first(b, state), b.scalar(2, dt.int32), "LT")
    b, state = HLOBuilder(body), body.add_parameter((), None, "state", parts)
    count = b.add(_first(b, state), b.scalar(1, dt.int32))
    values = count, _first(b, _call_of(times, b, _first(b, state, 1)))
    body.root = b.emit("tuple", values, (), None, tuple_shapes=parts)
    made = HLOModule("loop")
    b, x = HLOBuilder(made.entry), made.add_parameter(X.shape, X.dtype, "x")
    begin = b.emit("tuple", (b.scalar(0, dt.int32), x), (), None, tuple_shapes=parts)
    attributes = {"condition": condition, "body": body}
    last = b.emit("while", (begin,), (), None, attributes, parts)
    made.set_results(_first(b, last, 1), ["output0"])
    return made


PLACES = [_entry, _in_a_branch, _in_a_loop]
ENDLESS = 2**31 - 1


@contextmanager
def _session(folder: Path, **variables: str) -> Iterator[Callable[[HLOModule], Any]]:
    """What executes a module on the emulated device: the result."""
    with nrt_client.session(folder, **variables) as nrt:

        def execute(module: HLOModule) -> np.ndarray:
            inputs, out = nrt.tensor_set({"x": nrt.tensor(X)}), nrt.empty(X.nbytes)
            model = nrt.load(neff_bytes(module, ProgramDescription()))
            nrt.execute(model, inputs, nrt.tensor_set({"output0": out}))
            return nrt.read(out, X.shape, X.dtype)

        yield execute


@pytest.mark.parametrize("place", PLACES)
def test_a_kernel_that_does_not_end_is_a_timeout(tmp_path, capfd, place):
    with _session(tmp_path, NEURON_RT_EXEC_TIMEOUT="1") as execute:
        with pytest.raises(nrt_client.NrtFailure) as raised:
            execute(place(ENDLESS))
        assert raised.value.status == TIMEOUT
        assert "NEURON_RT_EXEC_TIMEOUT" in capfd.readouterr().err
        np.testing.assert_array_equal(execute(place(3)), X)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_kernel_that_does_not_end_is_a_timeout_in_the_child(tmp_path, place):
    with _session(tmp_path, NEURON_RT_EXEC_TIMEOUT="3", **CHILD) as execute:
        with pytest.raises(nrt_client.NrtFailure) as raised:
            execute(place(ENDLESS))
    assert raised.value.status == TIMEOUT
    with _session(tmp_path, **CHILD) as execute:
        np.testing.assert_array_equal(execute(place(3)), X)


def _interrupt(place: str, engine: str) -> None:
    """Run a kernel that does not end until a signal comes, and then one that does."""
    endless, short = (globals()[place](n) for n in (ENDLESS, 3))
    out = np.zeros_like(X)
    with TemporaryDirectory() as folder:
        if engine == "simulated":
            program = XlaCpuEngine().compile(endless)
            run = partial(program.run, [X], [out])
        else:
            path = Path(folder, "kernel.neff")
            path.write_bytes(neff_bytes(endless, ProgramDescription()))
            model = SpikeModel.load_from_neff(str(path))
            x, y = SpikeTensor.from_numpy(X), SpikeTensor.from_numpy(out)
            run = partial(model, {"x": x}, {"output0": y})
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            run()
        except KeyboardInterrupt:
            print("interrupted", out.any())
    XlaCpuEngine().compile(short).run([X], [out])
    print((out == X).all())


@pytest.mark.parametrize(
    ("place", "engine"),
    [
        ("_in_a_loop", "simulated"),
        *(
            pytest.param(place, engine, marks=pytest.mark.slow)
            for place in ("_in_a_branch", "_in_a_loop")
            for engine in ENGINES
        ),
    ],
)
def test_a_kernel_that_does_not_end_is_interrupted(place, engine):
    done = _run_here(engine, place, engine)
    assert done.split() == ["interrupted", "False", "True"]


def _run_here(engine: str, *arguments: str) -> str:
    """What this file's main program prints, with one of the engines."""
    variables = {"NKIPY_EMULATOR_PYTHON": sys.executable}
    if engine in ENGINES:
        variables["NKIPY_EMULATOR_ENGINE"] = engine
    done = subprocess.run(
        [sys.executable, "-m", __name__, *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def _tell() -> None:
    """Print what a failing kernel is told for."""
    try:
        baremetal_jit(lambda x: reads_what_is_not_there(x))(X)
    except NrtError as error:
        print(str(error).partition("how much it says); ")[2])


@pytest.mark.slow
def test_both_engines_say_the_same_of_a_kernel_that_fails():
    told = {_run_here(engine) for engine in ENGINES}
    (text,) = told
    assert text.startswith(
        "NkiValidationError: dma_copy: src reads 128 of 128 elements"
    )
    line = reads_what_is_not_there.func.__code__.co_firstlineno + 4
    assert f"{__file__}:{line}" in text


if __name__ == "__main__":
    if sys.argv[1:]:
        _interrupt(*sys.argv[1:])
    else:
        _tell()
