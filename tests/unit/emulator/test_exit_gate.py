"""Daemon threads inside of calls when the interpreter ends: a clean end, and soon."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

KERNEL = """
import sys, threading, time, types
import numpy as np
from nkipy.runtime import simulate_jit

x = np.full((300, 300), 2, np.float32)
kernel = simulate_jit(lambda x: x @ x)
kernel(x)

class Last:  # lets threads have the lock when the interpreter has ended
    sleep = time.sleep
    def __del__(self):
        self.sleep(0.3)

sys.modules["last"] = types.ModuleType("last")
sys.modules["last"].last = Last()
"""

THREADS = """
def forever(call):
    while True:
        call()

for _ in range(2):
    threading.Thread(target=forever, args=(call,), daemon=True).start()
time.sleep(0.3)
"""

#: One call of a kernel whose handler sleeps, in a daemon thread.
SLEEPING = """
from nkipy.core import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOModule
from nkipy_emulator import register_custom_call
from nkipy_emulator.engine import XlaCpuEngine

def handler(inputs, outputs, config):
    started.set()
    time.sleep({seconds})
    outputs[0][...] = inputs[0]

register_custom_call("Sleep", handler)
started = threading.Event()
module = HLOModule("sleeping")
p = module.add_parameter((2,), dt.float32, "p")
attributes = {{"custom_call_target": "Sleep"}}
module.set_results(
    HLOBuilder(module.entry).emit("custom-call", (p,), (2,), dt.float32, attributes)
)
run = XlaCpuEngine().compile(module).run
one = np.ones(2, np.float32)
threading.Thread(target=run, args=([one], [one]), daemon=True).start()
assert started.wait(60)
"""


def start(code: str) -> subprocess.Popen[str]:
    """Start Python."""
    command = [sys.executable, "-c", code]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process: subprocess.Popen[str], timeout: float = 60) -> str:
    """What a process has printed; its end must be good, and without a word."""
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert err == ""
    return out


def run(code: str) -> str:
    """Run Python, as :func:`ended`."""
    return ended(start(code))


@pytest.mark.parametrize(
    "call",
    [
        "lambda: kernel(x)",
        "lambda: kernel(x[:2, :2])",
        "lambda: simulate_jit(lambda x: x + time.monotonic())(x)",
    ],
    ids=["large", "small", "compile"],
)
def test_threads_inside_calls(call):
    run(f"{KERNEL}call = {call}{THREADS}")


def test_callbacks_of_the_end_can_still_call():
    code = f"""
import atexit
atexit.register(lambda: print(kernel(x)[0, 0], simulate_jit(np.negative)(x)[0, 0]))
{KERNEL}
call = lambda: kernel(x){THREADS}
"""
    assert run(code) == "1200.0 -2.0\n"


#: It would otherwise wait for ever: the gate lets the ending thread in alone.
WAITED_FOR = f"""
import atexit
def wait():
    go.set()
    thread.join()
atexit.register(wait)
{KERNEL}
def call_late():
    go.wait()
    try:
        kernel(x)
    except RuntimeError as e:
        print(e)
go = threading.Event()
thread = threading.Thread(target=call_late, daemon=True)
thread.start()
"""


@pytest.mark.slow
def test_an_end_that_takes_long():
    """A thread that the end waits for is told; a call that takes long is left.

    Of 5.9 seconds, it wants to come back from XLA when the interpreter has ended. The
    processes do nothing for most of their time: all run at once.
    """
    sleeping = KERNEL.replace("0.3", "2") + SLEEPING
    begin = time.monotonic()
    waited_for = start(WAITED_FOR)
    left = [start(sleeping.format(seconds=seconds)) for seconds in (5.9, 1000)]
    for process in left:
        assert ended(process) == ""
    assert ended(waited_for) == "the Python interpreter is about to end\n"
    assert time.monotonic() - begin < 30
