"""Executing: values, memory shared by inputs and outputs, order, numerics, refusals."""

from __future__ import annotations

import os
import threading
import time
from ctypes import byref, c_int64, c_uint64, c_void_p

import ml_dtypes
import numpy as np
import pytest

from nkipy.hlo.ir import AliasInfo
from nkipy_emulator import register_custom_call, unregister_custom_call
from tests.support import nrt_client
from tests.support.libnrt import HOST, INVALID, INVALID_HANDLE, TIMEOUT
from tests.support.nrt_client import (
    BAD_INPUT,
    WITH_ERR,
    Nrt,
    NrtFailure,
    make_neff,
)
from tests.unit.hlo.sample import comparator

X = np.arange(8, dtype=np.float32)
SIZES = [1, 1000, 1024, 1 << 18]  # elements: staged, imported in place


@pytest.fixture
def nrt(tmp_path):
    with nrt_client.session(tmp_path, cores=2) as nrt:
        yield nrt


def negate(b, x):
    return b.negate(x)


def pair(b, x, y):
    return b.add(x, y), b.subtract(x, y)


def failure_of(nrt: Nrt, *execution) -> int:
    with pytest.raises(NrtFailure) as failure:
        nrt.execute(*execution)
    return failure.value.status


@pytest.mark.parametrize("size", SIZES)
def test_results_are_those_of_the_program(nrt, rng_of, size):
    x, y = rng_of(size), rng_of(size)
    model = nrt.load(make_neff(pair, x, y))
    inputs = nrt.tensor_set({"x0": nrt.tensor(x), "x1": nrt.tensor(y)})
    total, difference = nrt.empty(x.nbytes), nrt.empty(x.nbytes)
    outputs = nrt.tensor_set({"output0": total, "output1": difference})
    for _ in range(3):  # the first execution prepares what later ones reuse
        nrt.execute(model, inputs, outputs)
        np.testing.assert_array_equal(nrt.read(total, x.shape, x.dtype), x + y)
        np.testing.assert_array_equal(nrt.read(difference, x.shape, x.dtype), x - y)
        x = x + 1
        nrt.write(nrt_tensor(nrt, inputs, "x0"), x)


def nrt_tensor(nrt: Nrt, tensors: c_void_p, name: str) -> c_void_p:
    tensor = c_void_p()
    nrt.call("get_tensor_from_tensor_set", tensors, name.encode(), byref(tensor))
    return tensor


@pytest.fixture
def rng_of():
    rng = np.random.default_rng(7)
    return lambda n: rng.standard_normal(n).astype(np.float32)


@pytest.mark.parametrize(
    "dtype",
    [np.bool_, np.int8, np.uint32, np.float16, ml_dtypes.bfloat16]
    + [ml_dtypes.float8_e4m3, ml_dtypes.float8_e5m2],
)
def test_every_dtype_comes_through(nrt, dtype):
    x = np.array([0, 1, 1, 0], np.float32).astype(dtype)
    y = nrt.run(make_neff(lambda b, p: b.unary("copy", p), x), x, like=x)
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y.view(np.uint8), x.view(np.uint8))


@pytest.mark.parametrize("size", SIZES)
def test_an_output_may_be_the_input(nrt, size):
    x = np.arange(size, dtype=np.float32)
    model = nrt.load(make_neff(lambda b, p: b.add(p, p), x))
    tensor = nrt.tensor(x)
    inputs = nrt.tensor_set({"x0": tensor})
    outputs = nrt.tensor_set({"output0": tensor})
    for times in (2, 4, 8):
        nrt.execute(model, inputs, outputs)
        np.testing.assert_array_equal(nrt.read(tensor, x.shape, x.dtype), x * times)


@pytest.mark.parametrize("size", SIZES)
def test_results_may_go_crosswise_into_the_inputs(nrt, size):
    x = np.arange(size, dtype=np.float32)
    y = -x - 1
    model = nrt.load(make_neff(lambda b, p, q: (q, p), x, y))
    a, b = nrt.tensor(x), nrt.tensor(y)
    inputs = nrt.tensor_set({"x0": a, "x1": b})
    nrt.execute(model, inputs, nrt.tensor_set({"output0": a, "output1": b}))
    np.testing.assert_array_equal(nrt.read(a, x.shape, x.dtype), y)
    np.testing.assert_array_equal(nrt.read(b, x.shape, x.dtype), x)


@pytest.mark.parametrize("shift", [4, 64, 4096])
def test_results_may_overlap_inputs_through_slices(nrt, shift):
    x = np.arange(1 << 16, dtype=np.float32)
    model = nrt.load(make_neff(negate, x))
    whole = nrt.empty(x.nbytes + shift)
    source, target = (nrt.slice(whole, o, x.nbytes) for o in (0, shift))
    nrt.write(source, x)
    inputs = nrt.tensor_set({"x0": source})
    nrt.execute(model, inputs, nrt.tensor_set({"output0": target}))
    np.testing.assert_array_equal(nrt.read(target, x.shape, x.dtype), -x)


def test_tensors_may_be_on_the_host_or_the_callers(nrt):
    model = nrt.load(make_neff(negate, X))
    on_host = nrt.tensor(X, core=-1, placement=HOST)
    mine = np.zeros_like(X)
    attached = nrt_client.attached(nrt, mine)
    inputs = nrt.tensor_set({"x0": on_host})
    nrt.execute(model, inputs, nrt.tensor_set({"output0": attached}))
    np.testing.assert_array_equal(mine, -X)


def test_sets_may_have_more_tensors_and_be_changed(nrt):
    model = nrt.load(make_neff(negate, X))
    out = nrt.empty(X.nbytes)
    inputs = nrt.tensor_set({"x0": nrt.tensor(X), "unused": nrt.empty(1)})
    outputs = nrt.tensor_set({"output0": out})
    nrt.execute(model, inputs, outputs)
    nrt.call("add_tensor_to_tensor_set", inputs, b"x0", nrt.tensor(X + 1))
    nrt.execute(model, inputs, outputs)
    np.testing.assert_array_equal(nrt.read(out, X.shape, X.dtype), -(X + 1))


def test_a_missing_tensor_is_invalid_and_named(nrt, capfd):
    model = nrt.load(make_neff(pair, X, X))
    x, out = nrt.tensor(X), nrt.tensor(X)
    outputs = nrt.tensor_set({"output0": out, "output1": out})
    assert failure_of(nrt, model, nrt.tensor_set({"x0": x, "y": x}), outputs) == INVALID
    told = capfd.readouterr().err
    assert "no tensor 'x1'; expected x0, x1; received x0, y" in told
    inputs = nrt.tensor_set({"x0": x, "x1": x})
    assert failure_of(nrt, model, inputs, nrt.tensor_set({})) == INVALID
    assert "expected output0, output1; received none" in capfd.readouterr().err
    np.testing.assert_array_equal(nrt.read(out, X.shape, X.dtype), X)


@pytest.mark.parametrize("nbytes", [X.nbytes - 4, X.nbytes + 4])
def test_a_tensor_of_another_size_is_bad_input(nrt, capfd, nbytes):
    model = nrt.load(make_neff(negate, X))
    wrong, right = nrt.empty(nbytes), nrt.tensor(X)
    for x, out in ((wrong, right), (right, wrong)):
        inputs, outputs = nrt.tensor_set({"x0": x}), nrt.tensor_set({"output0": out})
        assert failure_of(nrt, model, inputs, outputs) == BAD_INPUT
        told = capfd.readouterr().err
        assert f"should have {X.nbytes} bytes; received {nbytes}" in told


def test_a_tensor_of_another_core_is_invalid(nrt, capfd):
    model = nrt.load(make_neff(negate, X), core=1)
    near, far = nrt.tensor(X, core=1), nrt.tensor(X, core=0)
    inputs, outputs = nrt.tensor_set({"x0": far}), nrt.tensor_set({"output0": near})
    assert failure_of(nrt, model, inputs, outputs) == INVALID
    assert "'x0' is on core 0; the model is loaded on core 1" in capfd.readouterr().err


def test_freed_tensors_sets_and_models_are_recognised(nrt):
    model = nrt.load(make_neff(negate, X))
    x, out = nrt.tensor(X), nrt.tensor(X)
    inputs, outputs = nrt.tensor_set({"x0": x}), nrt.tensor_set({"output0": out})
    nrt.execute(model, inputs, outputs)
    nrt.free(x)
    assert failure_of(nrt, model, inputs, outputs) == INVALID
    assert failure_of(nrt, model, c_void_p(), outputs) == INVALID
    assert failure_of(nrt, c_void_p(8), inputs, outputs) == INVALID_HANDLE
    nrt.unload(model)
    assert failure_of(nrt, model, inputs, outputs) == INVALID_HANDLE


def test_a_tensor_without_storage_is_invalid(nrt):
    model = nrt.load(make_neff(negate, X))
    nothing = c_void_p()
    nrt.call("tensor_allocate_empty", b"none", byref(nothing))
    outputs = nrt.tensor_set({"output0": nrt.tensor(X)})
    assert failure_of(nrt, model, nrt.tensor_set({"x0": nothing}), outputs) == INVALID


def test_repeating_feeds_results_back(nrt):
    model = nrt.load(make_neff(lambda b, x: b.add(x, x), X))
    x, out = nrt.tensor(X), nrt.empty(X.nbytes)
    inputs, outputs = nrt.tensor_set({"x0": x}), nrt.tensor_set({"output0": out})
    for times in (1, 2, 5):
        nrt.execute(model, inputs, outputs, repeat=times)
        np.testing.assert_array_equal(nrt.read(out, X.shape, X.dtype), X * 2**times)
    np.testing.assert_array_equal(nrt.read(x, X.shape, X.dtype), X)
    for times in (0, -1):
        status = nrt.lib.nrt_execute_repeat(model, inputs, outputs, times)
        assert status == INVALID


def test_repeating_feeds_back_along_aliases_where_there_are_any(nrt):
    alias = AliasInfo(1, 0, "s", is_user_returned=False)
    names = ["s.must_alias_input", "d"]
    neff = make_neff(
        lambda b, s, d: (d, b.add(s, d)),
        *(X, X),
        names=names,
        results=["copy", "s"],
        aliases=[alias],
    )
    model = nrt.load(neff)
    state, copy = nrt.tensor(X), nrt.empty(X.nbytes)
    inputs = nrt.tensor_set({names[0]: state, "d": nrt.tensor(np.ones_like(X))})
    nrt.execute(model, inputs, nrt.tensor_set({"copy": copy, "s": state}), repeat=10)
    np.testing.assert_array_equal(nrt.read(state, X.shape, X.dtype), X + 10)
    np.testing.assert_array_equal(nrt.read(copy, X.shape, X.dtype), np.ones_like(X))


def test_completions_are_counted_for_each_output(nrt):
    model = nrt.load(make_neff(negate, X))
    x, out = nrt.tensor(X), nrt.empty(X.nbytes)
    inputs, outputs = nrt.tensor_set({"x0": x}), nrt.tensor_set({"output0": out})
    for _ in range(3):
        nrt.execute(model, inputs, outputs)

    def reached(tensor: c_void_p, count: int) -> int:
        return nrt.lib.nrt_tensor_check_output_completion(
            tensor, c_int64(1000), c_uint64(count)
        )

    assert [reached(out, n) for n in (3, 4)] == [0, TIMEOUT]
    assert [reached(x, n) for n in (0, 1)] == [0, TIMEOUT]
    nrt.call("tensor_reset_output_completion", out)
    assert reached(out, 1) == TIMEOUT


def test_auto_cast_of_the_compiler_shows(nrt):
    x = np.full((4, 4), 1 + 2**-10, np.float32)

    def dot(b, p, q):
        return b.dot(p, q, ((1,), (0,)))

    exact = nrt.run(make_neff(dot, x, x), x, x, like=x)
    cast = {"auto_cast": "matmult", "auto_cast_type": "bf16"}
    rounded = nrt.run(make_neff(dot, x, x, numerics=cast), x, x, like=x)
    np.testing.assert_array_equal(exact, x @ x)
    np.testing.assert_array_equal(rounded, np.full((4, 4), 4, np.float32))


@pytest.fixture
def handler():
    """Lets the test say what a custom call named ``Test`` does."""
    calls = []
    register_custom_call("Test", lambda ins, outs, config: calls[0](ins, outs))
    yield calls
    unregister_custom_call("Test")


def custom(b, x):
    attributes = {"custom_call_target": "Test"}
    return b.emit("custom-call", (x,), x.shape, x.dtype, attributes)


def test_a_failing_execution_leaves_outputs_and_the_runtime_works_on(
    nrt, handler, capfd
):
    def fail(ins, outs):
        raise ValueError("no such luck")

    handler.append(fail)
    model = nrt.load(make_neff(custom, X))
    x, out = nrt.tensor(X), nrt.tensor(X + 5)
    inputs, outputs = nrt.tensor_set({"x0": x}), nrt.tensor_set({"output0": out})
    assert failure_of(nrt, model, inputs, outputs) == WITH_ERR
    assert "ValueError: no such luck" in capfd.readouterr().err
    np.testing.assert_array_equal(nrt.read(out, X.shape, X.dtype), X + 5)
    handler[0] = lambda ins, outs: np.copyto(outs[0], ins[0] * 3)
    nrt.execute(model, inputs, outputs)
    np.testing.assert_array_equal(nrt.read(out, X.shape, X.dtype), X * 3)


def test_an_unknown_custom_call_is_refused_when_loaded(nrt, capfd):
    with pytest.raises(NrtFailure) as failure:
        nrt.load(make_neff(custom, X))
    assert failure.value.status == INVALID
    assert "custom call to 'Test'" in capfd.readouterr().err


def slow_model(nrt: Nrt, handler: list, seconds: float, core: int = 0):
    """A model, its sets and an event that is set while it runs."""
    began = threading.Event()

    def sleep(ins, outs):
        began.set()
        time.sleep(seconds)
        np.copyto(outs[0], ins[0] + 1)

    handler.append(sleep)
    model = nrt.load(make_neff(custom, X), core=core)
    x, out = nrt.tensor(X, core), nrt.tensor(X, core)
    sets = nrt.tensor_set({"x0": x}), nrt.tensor_set({"output0": out})
    return (model, *sets), x, out, began


def test_unloading_and_freeing_while_executing_is_safe(nrt, handler):
    execution, x, out, began = slow_model(nrt, handler, 0.2)
    thread = threading.Thread(target=nrt.execute, args=execution)
    thread.start()
    began.wait()
    nrt.unload(execution[0])
    nrt.free(x)
    thread.join()
    np.testing.assert_array_equal(nrt.read(out, X.shape, X.dtype), X + 1)


def test_reading_waits_for_the_execution_that_writes(nrt, handler):
    execution, _, out, began = slow_model(nrt, handler, 0.2)
    thread = threading.Thread(target=nrt.execute, args=execution)
    thread.start()
    began.wait()
    np.testing.assert_array_equal(nrt.read(out, X.shape, X.dtype), X + 1)
    thread.join()


def test_closing_waits_for_executions(tmp_path, handler):
    with nrt_client.session(tmp_path) as nrt:
        execution, _, _, began = slow_model(nrt, handler, 0.2)
        failures = []

        def execute():
            try:
                nrt.execute(*execution)
            except NrtFailure as e:
                failures.append(e)

        thread = threading.Thread(target=execute)
        thread.start()
        began.wait()
        nrt.close()
        thread.join()
    assert not failures


def test_executions_on_a_core_take_turns_and_cores_run_at_once(nrt, handler):
    """Two on core 0, one on core 1: the handler sees at most two at a time."""
    running, most, lock = set(), [], threading.Lock()

    def watch(ins, outs):
        core = int(ins[0][0])
        with lock:
            assert core not in running
            running.add(core)
            most.append(len(running))
        time.sleep(0.05)
        with lock:
            running.remove(core)
        np.copyto(outs[0], ins[0])

    handler.append(watch)
    executions = []
    for core in (0, 0, 1):
        model = nrt.load(make_neff(custom, X), core=core)
        x, out = nrt.tensor(np.full_like(X, core), core), nrt.empty(X.nbytes, core)
        sets = nrt.tensor_set({"x0": x}), nrt.tensor_set({"output0": out})
        executions.append((model, *sets))
    threads = [
        threading.Thread(target=lambda e=e: [nrt.execute(*e) for _ in range(4)])
        for e in executions
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 12 and max(most) == 2


def test_callers_that_keep_pythons_lock_do_not_deadlock(nrt, handler):
    """One thread executes slowly; another waits for the core with the lock in hand."""
    execution, _, _, began = slow_model(nrt, handler, 0.1)
    thread = threading.Thread(target=nrt.execute, args=execution)
    thread.start()
    began.wait()
    assert nrt.holding_lock.nrt_execute(*execution) == 0
    thread.join()


def test_too_slow_is_a_timeout(tmp_path, handler, capfd):
    with nrt_client.session(tmp_path, NEURON_RT_EXEC_TIMEOUT="1") as nrt:
        execution, _, out, _ = slow_model(nrt, handler, 1.2)
        assert failure_of(nrt, *execution) == TIMEOUT
        assert "NEURON_RT_EXEC_TIMEOUT" in capfd.readouterr().err
        handler[0] = lambda ins, outs: np.copyto(outs[0], ins[0])
        nrt.execute(*execution)
        np.testing.assert_array_equal(nrt.read(out, X.shape, X.dtype), X)


@pytest.mark.slow
def test_what_is_left_at_the_timeout_stores_nothing(tmp_path, rng_of, monkeypatch):
    x = rng_of(1 << 24)
    attributes = {"dimension": 0, "is_stable": False, "to_apply": comparator("f32")}
    sort = make_neff(lambda b, p: b.emit("sort", (p,), p.shape, p.dtype, attributes), x)
    # XLA's own sort, in one thread, looks at no deadline.
    monkeypatch.setenv("NKIPY_EMULATOR_FAST_CALLS", "never")
    with nrt_client.session(tmp_path, NEURON_RT_EXEC_TIMEOUT="1") as nrt:
        out = nrt.tensor(np.zeros_like(x))
        sets = nrt.tensor_set({"x0": nrt.tensor(x)}), nrt.tensor_set({"output0": out})
        assert failure_of(nrt, nrt.load(sort), *sets) == TIMEOUT
        assert nrt.run(make_neff(negate, X), X, like=X)[1] == -1
        for thread in threading.enumerate():
            if thread.name == "nkipy-execute":
                thread.join()
        assert not nrt.read(out, x.shape, x.dtype).any()


def test_a_forked_child_is_refused_and_the_parent_works_on(nrt):
    model = nrt.load(make_neff(negate, X))
    x, out = nrt.tensor(X), nrt.empty(X.nbytes)
    execution = model, nrt.tensor_set({"x0": x}), nrt.tensor_set({"output0": out})
    nrt.execute(*execution)
    child = os.fork()
    if child == 0:
        os._exit(nrt.lib.nrt_execute(*execution))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 13  # UNINITIALIZED
    nrt.execute(*execution)
    np.testing.assert_array_equal(nrt.read(out, X.shape, X.dtype), -X)
