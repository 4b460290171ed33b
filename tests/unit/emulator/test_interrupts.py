"""Compiling that is interrupted, or takes too long. In processes that get signals."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from nkipy.hlo import dtypes as dt
from nkipy_emulator.apart import VARIABLE, compile_seconds, run_apart
from nkipy_emulator.errors import CompileTimeoutError, SettingError

SLOW = 1500  # instructions in a row: XLA takes a second for them

PROLOGUE = """
import os, signal, sys, threading
import numpy as np
from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOModule
from nkipy.runtime import baremetal_jit, simulate_jit
from nkipy_emulator.engine import XlaCpuEngine

x = np.ones(4, np.float32)

def chain(x):
    for i in range(SLOW):
        x = np.tanh(x) if i % 2 else -x
    return x

def module():
    made = HLOModule("chain")
    b, value = HLOBuilder(made.entry), made.add_parameter((4,), dt.float32, "x")
    for i in range(SLOW):
        value = b.unary("tanh" if i % 2 else "negate", value)
    made.set_results(value)
    return made

def send():
    os.kill(os.getpid(), signal.SIGINT)

def send_soon():
    # When the compiler's thread is there, the compiler is or soon will be running.
    def watch():
        while not any(t.name == "nkipy-compile" for t in threading.enumerate()):
            pass
        threading.Timer(0.05, send).start()
    threading.Thread(target=watch, daemon=True).start()

def interrupt(compile):
    send_soon()
    try:
        compile()
    except KeyboardInterrupt:
        print("interrupted")
"""

AFTERWARDS = """
def kernel(x):
    return np.exp(x) * 2
for _ in range(3):
    print(simulate_jit(kernel)(x)[0] > 5)
"""

COMPILES = {
    "engine": "interrupt(lambda: XlaCpuEngine().compile(module()))",
    "device": "baremetal_jit(np.negative)(x)\n"
    "interrupt(lambda: baremetal_jit(chain)(x))",
}


def run(program: str, **variables: str) -> subprocess.CompletedProcess:
    text = PROLOGUE.replace("SLOW", str(SLOW)) + textwrap.dedent(program)
    environment = {**os.environ, "NKIPY_EMULATOR_CODE_CACHE": "off", **variables}
    return subprocess.run(
        [sys.executable, "-c", text],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )


@pytest.mark.parametrize("way", COMPILES)
def test_an_interrupted_compile_leaves_a_sound_process(way, tmp_path):
    directories = {
        "NKIPY_CACHE_DIR": str(tmp_path / "cache"),
        "NKIPY_EMULATOR_LOCK_DIR": str(tmp_path / "locks"),
    }
    done = run(COMPILES[way] + AFTERWARDS, **directories)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["interrupted", "True", "True", "True"]


ENDLESS = """
from nkipy.hlo.ir import HLOComputation, Shape

def loop(limit):
    parts = Shape(dt.float32, ()), Shape(dt.float32, ())
    def element(b, state, index):
        attributes = {"index": index}
        return b.emit("get-tuple-element", (state,), (), dt.float32, attributes)
    condition, body = HLOComputation("condition"), HLOComputation("body")
    state = condition.add_parameter((), None, "state", parts)
    b = HLOBuilder(condition)
    condition.root = b.compare(element(b, state, 0), element(b, state, 1), "LT")
    state = body.add_parameter((), None, "state", parts)
    b = HLOBuilder(body)
    one = b.add(element(b, state, 0), b.scalar(1, dt.float32))
    values = b.minimum(one, b.scalar(limit, dt.float32)), element(b, state, 1)
    body.root = b.emit("tuple", values, (), None, tuple_shapes=parts)
    made = HLOModule("loop")
    start, end = (made.add_parameter((), dt.float32, n) for n in ("start", "end"))
    b = HLOBuilder(made.entry)
    first = b.emit("tuple", (start, end), (), None, tuple_shapes=parts)
    attributes = {"condition": condition, "body": body}
    last = b.emit("while", (first,), (), None, attributes, parts)
    made.set_results(element(b, last, 0))
    return made

zero, ten, out = np.float32(0), np.float32(10), np.full((), -1, np.float32)
ten, zero = np.array(ten), np.array(zero)
endless = XlaCpuEngine().compile(loop(5))
threading.Timer(0.3, send).start()
try:
    endless.run([zero, ten], [out])
except KeyboardInterrupt:
    print("interrupted", out)
XlaCpuEngine().compile(loop(50)).run([zero, ten], [out])
print(out)
"""


def test_a_loop_without_end():
    done = run(ENDLESS)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["interrupted", "-1.0", "10.0"]


def test_what_is_not_caught_ends_the_process_as_python_does():
    program = "send_soon()\nXlaCpuEngine().compile(module())"
    done = run(program)
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")
    assert done.returncode in (130, -2)


def test_a_compile_that_takes_too_long(engine, module_of, monkeypatch):
    monkeypatch.setenv(VARIABLE, "0.000001")

    def body(b, x):
        for _ in range(100):
            x = b.unary("tanh", x)
        return x

    with pytest.raises(CompileTimeoutError, match=VARIABLE):
        engine.compile(module_of(body, np.ones(4, dt.float32)))


def test_time_grows_with_the_module(monkeypatch):
    monkeypatch.setenv(VARIABLE, "2")
    assert [compile_seconds(n) for n in (1, 1000, 5000)] == [2.0, 2.0, 10.0]
    monkeypatch.setenv(VARIABLE, "0")
    assert compile_seconds(10) is None
    for text in ("-1", "nan", "inf", "long"):
        monkeypatch.setenv(VARIABLE, text)
        with pytest.raises(SettingError, match=VARIABLE):
            compile_seconds(10)


def test_results_and_errors_come_back():
    assert run_apart(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        run_apart(lambda: 1 // 0)
