"""Where programs run: in this process, in a child of it, in one without Python."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from nkipy.hlo.ir import AliasInfo
from nkipy_emulator.neff_writer import ProgramDescription, neff_bytes
from tests.support import libnrt, nrt_client
from tests.support.libnrt import FAILURE, HOST, INVALID, TIMEOUT
from tests.support.loops import counting_loop
from tests.support.nrt_client import UNRECOVERABLE, Nrt, NrtFailure, make_neff

X = np.arange(8, dtype=np.float32)
CHILD = {"NKIPY_EMULATOR_ENGINE": "child", "NKIPY_EMULATOR_PYTHON": sys.executable}


@pytest.fixture(scope="class")
def shared_child(tmp_path_factory):
    """A session whose child process many tests use: starting one takes a second."""
    directory = tmp_path_factory.mktemp("locks")
    with nrt_client.session(directory, cores=2, **CHILD) as nrt:
        yield nrt


def negate(b, x):
    return b.negate(x)


def add_and_negate(b, x, y):
    return b.add(x, y), b.negate(x)


def children() -> set[int]:
    """Direct children of this process that run the engine."""
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has just ended
            pids += (task / "children").read_text().split()
    return {int(p) for p in pids if b"device.server" in command_of(int(p))}


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def failure_of(call) -> int:
    with pytest.raises(NrtFailure) as failure:
        call()
    return failure.value.status


class TestChild:
    def test_values(self, shared_child):
        nrt, big = shared_child, np.arange(1 << 18, dtype=np.float32)
        model = nrt.load(
            make_neff(lambda b, x, y: (b.add(x, y), b.negate(x)), big, big)
        )
        x, y, total = nrt.tensor(big), nrt.tensor(big * 2), nrt.empty(big.nbytes)
        inputs = nrt.tensor_set({"x0": x, "x1": y})
        nrt.execute(model, inputs, nrt.tensor_set({"output0": total, "output1": x}))
        np.testing.assert_array_equal(nrt.read(total, big.shape, big.dtype), big * 3)
        np.testing.assert_array_equal(nrt.read(x, big.shape, big.dtype), -big)
        nrt.unload(model)

    def test_the_description_is_the_same(self, shared_child):
        neff = make_neff(negate, X.reshape(2, 4), names=["käse"], results=["y"])
        model = shared_child.load(neff)
        assert shared_child.tensor_info(model) == [
            ("käse", 0, 32, 0xA, [2, 4]),
            ("y", 1, 32, 0xA, [2, 4]),
        ]

    def test_memory_that_is_not_shared_is_copied(self, shared_child):
        nrt, mine = shared_child, np.zeros_like(X)
        attached = nrt_client.attached(nrt, mine)
        source = nrt_client.attached(nrt, X + 1)
        model = nrt.load(make_neff(negate, X))
        for x in (source, nrt.tensor(X + 1, core=-1, placement=HOST)):
            mine[...] = 0
            inputs = nrt.tensor_set({"x0": x})
            nrt.execute(model, inputs, nrt.tensor_set({"output0": attached}))
            np.testing.assert_array_equal(mine, -(X + 1))

    def test_slices_and_aliases(self, shared_child):
        nrt = shared_child
        alias = AliasInfo(0, 0, "s", is_user_returned=False)
        names = ["s.must_alias_input"]
        neff = make_neff(negate, X, names=names, results=["s"], aliases=[alias])
        model, whole = nrt.load(neff), nrt.tensor(np.tile(X, 3))
        part = nrt.slice(whole, X.nbytes, X.nbytes)
        outputs = nrt.tensor_set({"s": part})
        nrt.execute(model, nrt.tensor_set({names[0]: part}), outputs)
        expected = np.concatenate([X, -X, X])
        np.testing.assert_array_equal(nrt.read(whole, (24,), X.dtype), expected)

    def test_refusals_come_through(self, shared_child, capfd):
        nrt = shared_child
        assert failure_of(lambda: nrt.load(b"x" * 3000)) == INVALID
        assert "NeffError" in capfd.readouterr().err
        custom = make_neff(
            lambda b, x: b.emit(
                "custom-call", (x,), x.shape, x.dtype, {"custom_call_target": "Nope"}
            ),
            X,
        )
        assert failure_of(lambda: nrt.load(custom)) == INVALID
        assert "'Nope'" in capfd.readouterr().err

    def test_threads(self, shared_child):
        nrt, wrong = shared_child, []
        neff = make_neff(lambda b, x: b.add(x, x), X)

        def work(number: int) -> None:
            core = number % 2
            model = nrt.load(neff, core=core)
            x, out = nrt.tensor(X + number, core), nrt.empty(X.nbytes, core)
            inputs = nrt.tensor_set({"x0": x})
            outputs = nrt.tensor_set({"output0": out})
            for _ in range(50):
                nrt.execute(model, inputs, outputs)
                if not np.array_equal(
                    nrt.read(out, X.shape, X.dtype), 2 * (X + number)
                ):
                    wrong.append(number)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong

    def test_asynchronous_requests(self, shared_child):
        nrt = shared_child
        model, x = nrt.load(make_neff(lambda b, x: b.add(x, x), X)), nrt.tensor(X)
        sets = nrt.tensor_set({"x0": x}), nrt.tensor_set({"output0": x})
        for _ in range(10):
            last = nrt.schedule(model, *sets)
        nrt.call("async_drain_queued_execs", -1)
        assert nrt.is_completed(last)
        np.testing.assert_array_equal(nrt.read(x, X.shape, X.dtype), X * 1024)


def ready(nrt: Nrt):
    """A model with its sets, loaded and executed."""
    model, x = nrt.load(make_neff(negate, X)), nrt.tensor(X)
    out = nrt.empty(X.nbytes)
    execution = model, nrt.tensor_set({"x0": x}), nrt.tensor_set({"output0": out})
    nrt.execute(*execution)
    return execution, out


def test_a_child_that_dies_is_unrecoverable_until_the_next_start(tmp_path, capfd):
    before = children()
    with nrt_client.session(tmp_path, **CHILD) as nrt:
        execution, out = ready(nrt)
        (child,) = children() - before
        os.kill(child, signal.SIGKILL)
        assert failure_of(lambda: nrt.execute(*execution)) == UNRECOVERABLE
        assert "was killed by signal 9" in capfd.readouterr().err
        assert failure_of(lambda: nrt.execute(*execution)) == UNRECOVERABLE
        # What does not need the engine works on.
        np.testing.assert_array_equal(nrt.read(out, X.shape, X.dtype), -X)
        nrt.unload(execution[0])
    with nrt_client.session(tmp_path, **CHILD) as nrt:
        _, out = ready(nrt)
        np.testing.assert_array_equal(nrt.read(out, X.shape, X.dtype), -X)
    assert children() == before  # neither running nor waiting to be reaped


def stop(process: int) -> None:
    """Send SIGSTOP, and wait until it has reached every thread."""
    os.kill(process, signal.SIGSTOP)
    deadline = time.monotonic() + 10
    while states(process) != {"T"}:
        assert time.monotonic() < deadline, states(process)
        time.sleep(0.001)


def states(process: int) -> set[str]:
    """The states of its threads, as /proc has them."""
    stats = Path(f"/proc/{process}/task").glob("*/stat")
    return {stat.read_text().rpartition(") ")[2][0] for stat in stats}


def loop_neff(limit: float) -> bytes:
    return neff_bytes(counting_loop(limit), ProgramDescription())


def execute_loop(nrt: Nrt, limit: float) -> float:
    ends = {"start": np.zeros((), np.float32), "end": np.full((), 10, np.float32)}
    inputs = nrt.tensor_set({name: nrt.tensor(end) for name, end in ends.items()})
    count = nrt.empty(4)
    nrt.execute(nrt.load(loop_neff(limit)), inputs, nrt.tensor_set({"count": count}))
    return float(nrt.read(count, (), np.float32))


def test_a_loop_without_end_is_a_timeout_in_this_process(tmp_path):
    with nrt_client.session(tmp_path, NEURON_RT_EXEC_TIMEOUT="1") as nrt:
        assert failure_of(lambda: execute_loop(nrt, 5)) == TIMEOUT
        assert execute_loop(nrt, 50) == 10  # the process and the core are sound


@pytest.mark.slow
def test_a_loop_without_end_is_a_timeout_in_the_child(tmp_path):
    with nrt_client.session(tmp_path, NEURON_RT_EXEC_TIMEOUT="3", **CHILD) as nrt:
        assert failure_of(lambda: execute_loop(nrt, 5)) == TIMEOUT
    with nrt_client.session(tmp_path, **CHILD) as nrt:
        assert execute_loop(nrt, 50) == 10


def test_a_child_that_hangs_is_a_timeout_and_ended(tmp_path):
    before = children()
    with nrt_client.session(tmp_path, NEURON_RT_EXEC_TIMEOUT="1", **CHILD) as nrt:
        execution, _ = ready(nrt)
        (child,) = children() - before
        stop(child)
        assert failure_of(lambda: nrt.execute(*execution)) == TIMEOUT
        assert failure_of(lambda: nrt.execute(*execution)) == UNRECOVERABLE
    assert children() == before


@pytest.mark.parametrize("python", ["/nowhere/python", "/bin/false"])
def test_an_interpreter_that_does_not_work_is_a_failure(tmp_path, capfd, python):
    variables = {**CHILD, "NKIPY_EMULATOR_PYTHON": python}
    with nrt_client.session(tmp_path, **variables) as nrt:
        assert failure_of(lambda: nrt.load(make_neff(negate, X))) == FAILURE
        told = capfd.readouterr().err
        assert python in told or "exited with code 1" in told


def test_the_child_ends_with_a_parent_that_is_killed(tmp_path):
    code = """
        from tests.support.nrt_client import *
        import numpy as np, subprocess, time
        n = Nrt()
        with n.running():
            n.load(make_neff(lambda b, x: b.negate(x), np.zeros(4, np.float32)))
            # Who inherits descriptors must not keep the child alive.
            subprocess.Popen(["sleep", "60"], close_fds=False)
            print("loaded", flush=True)
            time.sleep(60)
    """
    variables = {**CHILD, "NKIPY_EMULATOR_LOCK_DIR": str(tmp_path)}
    parent = libnrt.start_python(code, variables)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "loaded\n"
    listed = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text()
    (child,) = (p for p in map(int, listed.split()) if b"server" in command_of(p))
    parent.kill()
    parent.wait()
    for _ in range(500):
        if not command_of(child):
            break
        time.sleep(0.01)
    assert not command_of(child)
    for other in map(int, listed.split()):
        if b"sleep" in command_of(other):
            os.kill(other, signal.SIGKILL)


@pytest.mark.parametrize("engine", ["inprocess", "child"])
def test_exit_without_closing_is_clean(tmp_path, engine):
    """Models, tensors, a queued execution and a busy thread are left behind."""
    code = """
        from tests.support.nrt_client import *
        import numpy as np, threading
        n = Nrt()
        n.call("init", 1, b"", b"")
        x = np.arange(1 << 16, dtype=np.float32)
        models = [n.load(make_neff(lambda b, x: b.negate(x), x)) for _ in range(3)]
        tensors = [n.tensor(x) for _ in range(128)]
        sets = n.tensor_set({"x0": tensors[0]}), n.tensor_set({"output0": tensors[1]})
        def forever():
            while True:
                n.execute(models[0], *sets)
        threading.Thread(target=forever, daemon=True).start()
        for _ in range(20):
            n.schedule(models[1], *sets)
        print("done", flush=True)
    """
    variables = {**CHILD, "NKIPY_EMULATOR_ENGINE": engine}
    variables["NKIPY_EMULATOR_LOCK_DIR"] = str(tmp_path)
    process = libnrt.start_python(code, variables)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out == "done\n"


@pytest.mark.parametrize("engine", ["inprocess", "child"])
def test_exit_meets_threads_that_called_with_the_lock_held(tmp_path, engine):
    """The library gives the lock up meanwhile, and comes back when Python has ended."""
    code = """
        from tests.support.nrt_client import *
        import numpy as np, sys, threading, time, types
        class Last:  # lets threads have the lock when the interpreter has ended
            sleep = time.sleep
            def __del__(self):
                self.sleep(0.3)
        sys.modules["last"] = types.ModuleType("last")
        sys.modules["last"].last = Last()
        n = Nrt()
        n.call("init", 1, b"", b"")
        x = np.ones(1 << 16, np.float32)
        model = n.load(make_neff(lambda b, x: b.negate(x), x))
        a, b = n.tensor(x), n.empty(x.nbytes)
        sets = n.tensor_set({"x0": a}), n.tensor_set({"output0": b})
        n.execute(model, *sets)
        execute = n.holding_lock.nrt_execute
        def forever():
            while True:
                execute(model, *sets)
        for _ in range(2):
            threading.Thread(target=forever, daemon=True).start()
        time.sleep(0.3)
        print("the end")
    """
    variables = {"NKIPY_EMULATOR_ENGINE": engine, "NEURON_RT_LOG_LEVEL": "QUIET"}
    processes = [
        libnrt.start_python(code, {**variables, "NKIPY_EMULATOR_LOCK_DIR": str(locks)})
        for locks in (tmp_path / "a", tmp_path / "b", tmp_path / "c")
    ]
    for process in processes:
        assert process.communicate(timeout=60) == ("the end\n", "")
        assert process.returncode == 0
