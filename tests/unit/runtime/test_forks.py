"""Children forked from processes that have executed, or are executing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys, threading
import numpy as np
from nkipy.runtime import baremetal_jit, simulate_jit

def kernel(x):
    return np.exp(x) * 2

x = np.ones(4, np.float32)
call = (simulate_jit if sys.argv[1] == "simulated" else baremetal_jit)(kernel)
call(x)
stop = threading.Event()
def work():
    while not stop.is_set():
        call(x)
threads = [threading.Thread(target=work) for _ in range(int(sys.argv[2]))]
for thread in threads:
    thread.start()
for _ in range(4):
    child = os.fork()
    if child == 0:
        try:
            call(x)
        except RuntimeError as error:
            print("refused:", error)
        sys.exit(3)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
stop.set()
for thread in threads:
    thread.join()
print(call(x)[0] > 5)
"""

#: The child has nothing to run what it has traced.
IN_A_KERNEL = """
import os, sys
import numpy as np
from nkipy.runtime import baremetal_jit, simulate_jit

jit = simulate_jit if sys.argv[1] == "simulated" else baremetal_jit
x = np.ones(4, np.float32)
jit(np.negative)(x)

def kernel(x):
    global child
    child = os.fork()
    return x * 2

try:
    print(jit(kernel)(x)[0] == 2)
except RuntimeError as error:
    print("refused:", error)
if child == 0:
    sys.exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def run(program: str, directory: Path, *args: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program, *args],
        capture_output=True,
        text=True,
        timeout=60,
        env={
            **os.environ,
            # Cores of its own: those of this machine may be this process's.
            "NKIPY_EMULATOR_LOCK_DIR": str(directory / "locks"),
            # By XLA, which a child cannot use: without it there is nothing to refuse.
            "NKIPY_EMULATOR_FAST_CALLS": "never",
        },
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


@pytest.mark.parametrize("way", ["simulated", "device"])
def test_a_kernel_that_forks(way, tmp_path):
    lines = sorted(run(IN_A_KERNEL, tmp_path, way))
    assert lines[:2] == ["3", "True"] and len(lines) == 3
    assert lines[2].startswith("refused: ") and "fork" in lines[2]


@pytest.mark.parametrize("threads", [pytest.param(0, marks=pytest.mark.slow), 2])
@pytest.mark.parametrize("way", ["simulated", "device"])
def test_a_child_is_refused_and_exits_as_it_wants(way, threads, tmp_path):
    lines = run(PROGRAM, tmp_path, way, str(threads))
    assert [line for line in lines if not line.startswith("refused")] == [
        *["3"] * 4,
        "True",
    ]
    refusals = [line for line in lines if line.startswith("refused")]
    assert len(refusals) == 4 and all("process" in line for line in refusals)
