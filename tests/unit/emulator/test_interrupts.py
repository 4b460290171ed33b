"""Compiling that is interrupted, or takes too long. In processes that get signals."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from nkipy.hlo import dtypes as dt
from nkipy_emulator.apart import VARIABLE, compile_seconds, run_apart
from nkipy_emulator.errors import CompileTimeoutError, SettingError

ROOT = Path(__file__).parents[3]
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
        cwd=ROOT,
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
from tests.support.loops import counting_loop as loop

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


# Longer than the signal takes to come, and shorter than a test may take.
LONG = """
from tests.support.engine import make_module
from tests.unit.hlo.sample import comparator

LESS = comparator("f32")

def sort(b, x):
    attributes = {"dimension": 0, "is_stable": False, "to_apply": LESS}
    return b.emit("sort", (x,), x.shape, x.dtype, attributes)

data = np.random.default_rng(0).random(1 << 20, np.float32)
module = make_module(sort, data)
program = XlaCpuEngine().compile(module, num_replicas=RANKS)
outs = [np.zeros_like(data) for _ in range(RANKS)]
sorted_data = np.sort(data)

def execute():
    program.run_replicas([[data]] * RANKS, [[out] for out in outs])

def is_right():
    return all((out == sorted_data).all() for out in outs)

def interrupt_execution(call):
    started = threading.Event()
    def watch():
        started.wait()
        send()
    threading.Thread(target=watch, daemon=True).start()
    threading.Timer(0.05, started.set).start()
    try:
        call()
        for _ in range(10_000_000):
            pass
    except KeyboardInterrupt:
        print("interrupted")
"""

IN_THE_MAIN_THREAD = """
interrupt_execution(execute)
execute()
print(is_right())
"""

# A join that is interrupted takes its thread for ended, which an event does not.
BESIDE_THE_MAIN_THREAD = """
ended = threading.Event()
def execute_there():
    execute()
    ended.set()
def start_and_wait():
    threading.Thread(target=execute_there).start()
    ended.wait()
interrupt_execution(start_and_wait)
ended.wait()
print(is_right())
execute()
print(is_right())
"""


@pytest.mark.parametrize(
    ("ranks", "where"),
    [
        (1, IN_THE_MAIN_THREAD),
        pytest.param(2, IN_THE_MAIN_THREAD, marks=pytest.mark.slow),
        pytest.param(1, BESIDE_THE_MAIN_THREAD, marks=pytest.mark.slow),
        pytest.param(2, BESIDE_THE_MAIN_THREAD, marks=pytest.mark.slow),
    ],
    ids=["main", "ranks", "beside", "ranks-beside"],
)
def test_a_long_execution(ranks, where):
    """It comes to its end; the process is sound, and what it computes is right."""
    done = run(f"RANKS = {ranks}\n{LONG}{where}")
    assert done.returncode == 0, done.stderr[-3000:]
    answers = done.stdout.split()
    assert answers[0] == "interrupted" and set(answers[1:]) == {"True"}


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
