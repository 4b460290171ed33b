"""Compiling and executing that is interrupted, or takes too long. In processes that get
signals."""

from __future__ import annotations

import _thread
import os
import subprocess
import sys
import textwrap
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

from nkipy.hlo import dtypes as dt
from nkipy_emulator import apart
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

def threads(name):
    return [t for t in threading.enumerate() if t.name == name]

def send_soon(name="nkipy-compile"):
    # When that thread is there, XLA is or soon will be running in it.
    def watch():
        while not threads(name):
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
    prologue = PROLOGUE.replace("SLOW", str(SLOW))
    return run_bare(prologue + textwrap.dedent(program), **variables)


def run_bare(text: str, **variables: str) -> subprocess.CompletedProcess:
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
    assert answers_of(done) == ["interrupted", "True", "True", "True"]


# Reads a module when it is told to.
SLOW_READER = """
import time
from nkipy_emulator import _xla, apart

jax, _xla._jax = _xla._jax, type("Jax", (), {})()
for name in dir(jax):
    setattr(_xla._jax, name, getattr(jax, name))
_xla._jax.mlir = type("Mlir", (), {})()
began = []

def hlo_to_stablehlo(proto):
    began.append(proto)
    end = time.monotonic() + 60
    while not is_to_go_on() and time.monotonic() < end:
        time.sleep(0.01)
    return jax.mlir.hlo_to_stablehlo(proto)

_xla._jax.mlir.hlo_to_stablehlo = hlo_to_stablehlo
"""

AGAIN = f"""{SLOW_READER}
is_left = []

def is_to_go_on():
    if apart._abandoned:
        is_left.append(True)
    return is_left and not apart._abandoned

interrupt(lambda: XlaCpuEngine().compile(module()))
executable = XlaCpuEngine().compile(module())
print(len(began))
out, expected = np.empty_like(x), x
executable.run([x], [out])
for i in range({SLOW}):
    expected = np.tanh(expected) if i % 2 else -expected
print(np.allclose(out, expected, 1e-5))
"""


def test_what_is_compiled_again_after_an_interrupt_is_compiled_once():
    assert answers_of(run(AGAIN)) == ["interrupted", "1", "True"]


END = f"""{SLOW_READER}
is_to_go_on = bool
interrupt(lambda: XlaCpuEngine().compile(module()))
print(len(threads("nkipy-compile")))
begin = time.monotonic()
_xla.close_gate()
print(time.monotonic() - begin)
"""


def test_a_process_ends_soon_after_an_interrupted_compile():
    interrupted, under_way, seconds = answers_of(run(END))
    assert (interrupted, under_way) == ("interrupted", "1")
    assert 0.9 < float(seconds) < 4


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
    assert answers_of(done) == ["interrupted", "-1.0", "10.0"]


# Longer than the signal takes to come, on one core of any machine: XLA's own sort.
LONG = """
os.environ["NKIPY_EMULATOR_FAST_CALLS"] = "never"
from tests.support.engine import make_module
from tests.unit.hlo.sample import comparator

LESS = comparator("f32")

def sort(b, x):
    attributes = {"dimension": 0, "is_stable": False, "to_apply": LESS}
    return b.emit("sort", (x,), x.shape, x.dtype, attributes)

data = np.random.default_rng(0).random(1 << 22, np.float32)
sorted_data = np.sort(data)

def leave(call):
    send_soon("nkipy-execute")
    try:
        call()
    except KeyboardInterrupt:
        print("interrupted", "early" if threads("nkipy-execute") else "late")

def await_what_was_left():
    for thread in threads("nkipy-execute"):
        thread.join()
"""

SIMULATED = """
program = XlaCpuEngine().compile(make_module(sort, data), num_replicas=RANKS)
outs = [np.zeros_like(data) for _ in range(RANKS)]

def execute():
    program.run_replicas([[data]] * RANKS, [[out] for out in outs])

def all_are(expected):
    return all((out == expected).all() for out in outs)
"""

IN_THE_MAIN_THREAD = """
leave(execute)
print(all_are(0))
await_what_was_left()
print(all_are(0))
execute()
print(all_are(sorted_data))
"""

# A join that is interrupted takes its thread for ended, which an event does not.
BESIDE_THE_MAIN_THREAD = """
ended = threading.Event()
def execute_there():
    execute()
    ended.set()
def start_and_wait():
    threading.Thread(target=execute_there).start()
    while not ended.wait(0.1):
        pass
leave(start_and_wait)
ended.wait()
print(all_are(sorted_data))
execute()
print(all_are(sorted_data))
"""


def answers_of(done: subprocess.CompletedProcess) -> list[str]:
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split()


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
    """That of the main thread is left and stores nothing; others are not disturbed."""
    answers = answers_of(run(f"RANKS = {ranks}\n{LONG}{SIMULATED}{where}"))
    assert answers[:2] == ["interrupted", "early"] and set(answers[2:]) == {"True"}


ON_THE_DEVICE = """
kernel = baremetal_jit(np.sort)
small = baremetal_jit(np.negative)
leave(lambda: kernel(data))
print(small(x)[0] == -1)
print((kernel(data) == sorted_data).all())
"""

# With tensors of one's own: what was left reads `a`, and never writes `b`.
WITH_SPIKE = """
from spike import SpikeModel, SpikeTensor
from tests.support.nrt_client import make_neff

path = os.environ["NKIPY_CACHE_DIR"] + ".neff"
with open(path, "wb") as file:
    file.write(make_neff(sort, data, names=["x"], results=["y"]))
model = SpikeModel.load_from_neff(path)
a, b = SpikeTensor.from_numpy(data), SpikeTensor.from_numpy(np.zeros_like(data))
leave(lambda: model({"x": a}, {"y": b}))
print((b.numpy() == 0).all())
a.write_from_numpy(-data)
print((b.numpy() == 0).all())
model({"x": a}, {"y": b})
print((b.numpy() == -sorted_data[::-1]).all())
"""

# Of two that are queued and one that waits for them, the last is given up.
QUEUED = """
queued = [model.execute_async({"x": a}, {"y": b}) for _ in range(2)]
leave(lambda: queued[-1].wait())
leave(lambda: model({"x": b}, {"y": a}))
queued[-1].wait()
print((b.numpy() == -sorted_data[::-1]).all(), (a.numpy() == -data).all())
"""


def on_device(program: str, directory: Path) -> list[str]:
    directories = {
        "NKIPY_CACHE_DIR": str(directory / "cache"),
        "NKIPY_EMULATOR_LOCK_DIR": str(directory / "locks"),
    }
    return answers_of(run(LONG + program, **directories))


@pytest.mark.parametrize("program", [ON_THE_DEVICE, WITH_SPIKE], ids=["jit", "spike"])
def test_a_long_execution_on_the_device(program, tmp_path):
    answers = on_device(program, tmp_path)
    assert answers[:2] == ["interrupted", "early"] and set(answers[2:]) == {"True"}


@pytest.mark.slow
def test_executions_that_are_queued(tmp_path):
    answers = on_device(WITH_SPIKE + QUEUED, tmp_path)
    assert answers.count("interrupted") == answers.count("early") == 3
    assert set(answers) == {"interrupted", "early", "True"}


HANDLED = """
signal.signal(signal.SIGINT, lambda *_: print("handled"))
send_soon("nkipy-execute")
out = np.zeros_like(data)
XlaCpuEngine().compile(make_module(sort, data)).run([data], [out])
print((out == sorted_data).all())
"""


def test_a_handler_that_raises_nothing_changes_nothing():
    assert answers_of(run(LONG + HANDLED)) == ["handled", "True"]


WAYS_TO_END = {
    "simulated": "send_soon('nkipy-execute')\nsimulate_jit(np.sort)(data)",
    "device": "send_soon('nkipy-execute')\nbaremetal_jit(np.sort)(data)",
}


@pytest.mark.parametrize(
    "way", ["simulated", pytest.param("device", marks=pytest.mark.slow)]
)
def test_a_process_ends_with_what_was_left(way, tmp_path):
    locks = str(tmp_path / "locks")
    done = run(LONG + WAYS_TO_END[way], NKIPY_EMULATOR_LOCK_DIR=locks)
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")
    assert done.returncode in (130, -2)


def test_what_is_not_caught_ends_the_process_as_python_does():
    program = "send_soon()\nXlaCpuEngine().compile(module())"
    done = run(program)
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")
    assert done.returncode in (130, -2)


def test_a_compile_that_takes_too_long(engine, module_of, monkeypatch):
    monkeypatch.setenv(VARIABLE, "0.000001")

    def body(b, x):
        for _ in range(100):
            x = b.unary("tanh", b.negate(x))
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


def test_what_takes_too_long_goes_on_without_its_caller():
    goes_on, ended = threading.Event(), threading.Event()
    with pytest.raises(TimeoutError):
        run_apart(lambda: (goes_on.wait(), ended.set()), 0.01)
    goes_on.set()
    assert ended.wait(60)


def test_results_and_errors_come_back():
    assert run_apart(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        run_apart(lambda: 1 // 0)


def test_who_asks_for_what_was_left_gets_it_once_it_is_done():
    calls, go_on = [], threading.Event()

    def function(number):
        calls.append(number)
        go_on.wait(60)
        return number

    with pytest.raises(TimeoutError):
        run_apart(lambda: function(1), 0.01, key="same")
    assert run_apart(lambda: 2, key="other") == 2
    assert run_apart(lambda: 3) == 3
    with pytest.raises(TimeoutError):
        run_apart(lambda: function(4), 0.01, key="same")
    threading.Timer(0.2, go_on.set).start()
    assert run_apart(lambda: function(5), 60, key="same") == 1
    assert calls == [1] and "same" not in apart._abandoned
    assert run_apart(lambda: 6, key="same") == 6


def test_what_is_done_before_anybody_asks_is_forgotten():
    go_on, threads = threading.Event(), []

    def function():
        threads.append(threading.current_thread())
        go_on.wait(60)

    with pytest.raises(TimeoutError):
        run_apart(function, 0.1, key="left")
    assert "left" in apart._abandoned
    go_on.set()
    threads[0].join()
    assert "left" not in apart._abandoned
    assert run_apart(lambda: 7, key="left") == 7


def test_an_error_of_what_was_left_is_that_of_who_asks():
    go_on = threading.Event()
    with pytest.raises(TimeoutError):
        run_apart(lambda: [go_on.wait(60), 1 // 0], 0.1, key="fails")
    go_on.set()
    with pytest.raises(ZeroDivisionError):
        run_apart(lambda: 1 // 0, 60, key="fails")


ENGINES = ["inprocess", "child"]

#: XLA takes many times as long as this test.
LOADS = """
import random
import time
from spike import SpikeModel
from tests.support.nrt_client import make_neff

def write(make, name):
    path = f"{os.environ['NKIPY_CACHE_DIR']}-{name}.neff"
    with open(path, "wb") as file:
        file.write(make_neff(make, x))
    return path

short = write(lambda b, x: b.negate(x), "short")
SpikeModel.load_from_neff(short)  # the engine is there
"""

LONG_LOAD = f"""{LOADS}
def long_chains(b, x):
    total, by_chance = x, random.Random(0)  # nothing is repeated
    for start in range(4):
        value = b.add(x, b.full_like(x, start))
        for _ in range(1800):  # a sum is a loop of its own, which is compiled by itself
            mean = b.reduce(value, "add", 0, (0,))
            by = by_chance.choice(["add", "subtract", "maximum", "minimum"])
            value = b.binary(by, value, b.broadcast_to(b.negate(mean), value.shape))
        total = b.add(total, value)
    return total

long = write(long_chains, "long")
"""

EXIT = """
def load():
    SpikeModel.load_from_neff(long)
    print("loaded")
threading.Thread(target=load, daemon=True).start()
while os.environ["NKIPY_EMULATOR_ENGINE"] != "child" and not threads("nkipy-compile"):
    time.sleep(0.01)
time.sleep(1)
sys.exit(5)
"""

RAISE = """
def handle(*_):
    raise TimeoutError("the user's")
signal.signal(signal.SIGINT, handle)
threading.Timer(1, send).start()
try:
    SpikeModel.load_from_neff(long)
except TimeoutError as error:
    print(error)
print(SpikeModel.load_from_neff(short).name)
"""


def run_on(
    engine: str, program: str, directory: Path, **more: str
) -> subprocess.CompletedProcess:
    variables = {
        "NKIPY_CACHE_DIR": str(directory / "cache"),
        "NKIPY_EMULATOR_LOCK_DIR": str(directory / "locks"),
        "NKIPY_EMULATOR_ENGINE": engine,
    }
    return run(program, **variables, **more)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_the_end_waits_for_no_long_load_of_a_daemon_thread(engine, tmp_path):
    done = run_on(engine, LONG_LOAD + EXIT, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (5, "", "")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_what_a_handler_raises_during_a_load(engine, tmp_path):
    """It arrives as it is, whatever its class, and the next load works."""
    lines = run_on(engine, LONG_LOAD + RAISE, tmp_path).stdout.splitlines()
    assert len(lines) == 2 and lines[0] == "the user's"


# Between two lines of ours, not in XLA.
READING = """
from nkipy_emulator.device import service

read = service.read_program

def read_slowly(*arguments):
    send()
    time.sleep(0.5)
    return read(*arguments)

def handle(*_):
    raise ValueError("the user's")

signal.signal(signal.SIGINT, handle)
service.read_program = read_slowly
try:
    SpikeModel.load_from_neff(short)
except ValueError as error:
    print(error)
service.read_program = read
print(SpikeModel.load_from_neff(short).name)
"""


def test_what_a_handler_raises_while_a_neff_is_read(tmp_path):
    done = run_on("inprocess", LOADS + READING, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["the user's", "cache-short"]


IN_A_CHILD = """
data = np.random.default_rng(0).random(1 << 24, np.float32)
sorted_data = np.sort(data)
kernel, small = baremetal_jit(np.sort), baremetal_jit(np.negative)
small(x)
kernel(data)
threading.Timer(0.3, send).start()
try:
    kernel(data)
except KeyboardInterrupt:
    print("interrupted")
print(small(x)[0] == -1)
print((kernel(data) == sorted_data).all())
"""


@pytest.mark.slow
def test_an_execution_in_a_child_is_ended_and_the_next_call_starts_another(tmp_path):
    slow_sort = {"NKIPY_EMULATOR_FAST_CALLS": "never"}
    done = run_on("child", IN_A_CHILD, tmp_path, **slow_sort)
    assert answers_of(done) == ["interrupted", "True", "True"]


RESET = """
import warnings
import spike
warnings.simplefilter("ignore")
queued = [model.execute_async({"x": a}, {"y": b}) for _ in range(3)]
threading.Timer(0.1, send).start()
try:
    spike.reset()
except KeyboardInterrupt:
    print("interrupted", "late" if queued[-1].done() else "early")
queued[-1].wait()
print((b.numpy() == -sorted_data[::-1]).all())
spike.reset()
"""


@pytest.mark.slow
def test_a_runtime_whose_closing_is_interrupted_stays_open(tmp_path):
    answers = on_device(WITH_SPIKE + RESET, tmp_path)
    assert answers[-3:] == ["interrupted", "early", "True"]


IMPORTS = """
import os, signal, sys
import numpy as np
from nkipy.runtime import baremetal_jit, simulate_jit

signal.signal(signal.SIGINT, signal.default_int_handler)
sent = []

def send(event, args):
    if event == "import" and args[0] == NAME and not sent:
        sent.append(NAME)
        os.kill(os.getpid(), signal.SIGINT)

sys.addaudithook(send)
x = np.ones(4, np.float32)
try:
    JIT(np.negative)(x)
except KeyboardInterrupt:
    print("interrupted by", *sent)
for _ in range(2):
    print(JIT(np.exp)(x)[0] > 2)
"""


def require_interrupted(code: str, jit: str, name: str, directory: Path) -> None:
    """A fresh process is interrupted in its first call, and goes on to work."""
    directories = {
        "NKIPY_CACHE_DIR": str(directory / "cache"),
        "NKIPY_EMULATOR_LOCK_DIR": str(directory / "locks"),
        "NKIPY_EMULATOR_CODE_CACHE": str(directory / "code"),
        "NKIPY_EMULATOR_FAST_CALLS": "never",  # for XLA to compile what is called
    }
    done = run_bare(code.replace("JIT", jit).replace("NAME", repr(name)), **directories)
    assert done.stdout.split("\n")[:3] == [f"interrupted by {name}", "True", "True"]
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("jit", "name"),
    [
        ("simulate_jit", "jaxlib._jax"),
        ("baremetal_jit", "nkipy_emulator.device.api"),
        ("baremetal_jit", "jaxlib._jax"),
        pytest.param("baremetal_jit", "nkipy_emulator._xla", marks=pytest.mark.slow),
        pytest.param("simulate_jit", "nkipy_emulator._xla", marks=pytest.mark.slow),
    ],
)
def test_the_import_of_the_engine_is_interrupted(jit, name, tmp_path):
    require_interrupted(IMPORTS, jit, name, tmp_path)


# A signal as Python gets a lock back, for the thread that waits until another starts.
STARTS = """
import os, signal, sys, threading, time
import numpy as np
from nkipy.runtime import baremetal_jit, simulate_jit

signal.signal(signal.SIGINT, signal.default_int_handler)
begin = threading.Thread._bootstrap_inner
threading.Thread._bootstrap_inner = lambda thread: (time.sleep(0.1), begin(thread))
restore = threading.Condition._acquire_restore
sent = []

def starting():
    frame = sys._getframe(1)
    while frame:
        if frame.f_code is threading.Thread.start.__code__:
            return frame.f_locals["self"].name
        frame = frame.f_back
    return ""

def send(*arguments):
    if NAME in starting() and not sent:
        sent.append(NAME)
        os.kill(os.getpid(), signal.SIGINT)
    return restore(*arguments)

threading.Condition._acquire_restore = send
x = np.ones(4, np.float32)
try:
    JIT(np.negative)(x)
except KeyboardInterrupt:
    print("interrupted by", *sent)
for _ in range(2):
    print(JIT(np.exp)(x)[0] > 2)
"""


@pytest.mark.parametrize(
    ("jit", "name"),
    [
        ("simulate_jit", "nkipy-import"),
        ("baremetal_jit", "nkipy-compile"),
        ("baremetal_jit", "_keep_soon"),  # what was compiled
    ],
)
def test_the_start_of_a_thread_is_interrupted(jit, name, tmp_path):
    require_interrupted(STARTS, jit, name, tmp_path)


# One signal comes at some moment of each call. What its handler raises has to arrive.
AT_ANY_MOMENT = """
import random, signal, time
from nkipy_emulator import _xla
from nkipy_emulator.apart import run_apart

device, = _xla._client(1).devices()
memory = np.zeros(128, np.uint8)
address = -(-memory.ctypes.data // 64) * 64
handled = []

def handle(*_):
    handled.append(True)
    raise TimeoutError("the user's")

def is_lost(call, delay):
    handled.clear()
    try:
        signal.setitimer(signal.ITIMER_REAL, delay)
        call()
        while not handled:
            time.sleep(0)
    except TimeoutError:
        return False
    return True

signal.signal(signal.SIGALRM, handle)
for call in (lambda: _xla._import_memory(address, 64, device), lambda: run_apart(int)):
    delays = [random.uniform(1e-6, 3e-4) for _ in range(TRIES)]
    print(sum(is_lost(call, delay) for delay in delays))
"""


def test_what_a_handler_raises_at_any_moment_is_not_lost():
    program = AT_ANY_MOMENT.replace("TRIES", "1000")
    assert answers_of(run(program)) == ["0", "0"]


def test_the_object_of_a_thread_does_not_go_in_the_thread_that_waits():
    objects: list[weakref.ref[threading.Thread]] = []
    run_apart(lambda: objects.append(weakref.ref(threading.current_thread())))
    assert objects[0]() is not None


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
def test_who_can_have_no_thread_calls_the_function_himself(monkeypatch, error):
    def refuse(thread: threading.Thread) -> None:
        raise error("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert run_apart(threading.current_thread) is threading.current_thread()


def test_a_thread_that_ends_before_it_begins_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(_thread, "start_new_thread", lambda function, arguments: 1)
    assert run_apart(threading.current_thread) is threading.current_thread()


def test_a_thread_that_begins_too_late_finds_the_function_called(monkeypatch):
    begin, begun = threading.Event(), threading.Event()
    start = threading.Thread.start

    def start_late(thread: threading.Thread) -> None:
        begin.wait()
        start(thread)
        thread.join()
        begun.set()

    monkeypatch.setattr(threading.Thread, "start", start_late)
    monkeypatch.setattr(apart, "_BEGINS_WITHIN", 0.0)
    callers = []
    run_apart(lambda: callers.append(threading.current_thread()))
    begin.set()
    begun.wait()
    assert callers == [threading.current_thread()]
