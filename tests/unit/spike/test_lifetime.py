"""Whatever ends first: tensors, models, calls, the runtime, the process."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest

import spike
from spike import SpikeError, SpikeModel, SpikeTensor
from spike._spike import Spike

pytestmark = pytest.mark.usefixtures("emulator")

X = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def negate(neff) -> str:
    return str(neff(lambda b, x: b.negate(x), X, names=["x"], results=["y"]))


def make_objects(negate: str) -> dict[str, Any]:
    """One of everything, on each other, and an execution that is in flight."""
    runtime = Spike()
    model = runtime.load_model(negate)
    x, y = (runtime.allocate_tensor(X.nbytes) for _ in range(2))
    call = model.prepare({"x": x}, {"y": y})
    return {
        "runtime": runtime,
        "model": model,
        "tensors": [x, y, x.slice(16)],
        "call": call,
        "execution": call.execute_async(),
    }


@pytest.mark.parametrize("order", list(itertools.permutations(range(5))))
def test_every_order_of_deleting(negate, order):
    objects = make_objects(negate)
    for name in [list(objects)[i] for i in order]:
        del objects[name]
    runtime = Spike()  # refused if the other one were still open
    assert runtime.memory_stats()[0] == 0
    runtime.close()


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_every_order_of_ending_explicitly(negate, order):
    objects = make_objects(negate)
    ends = (
        objects["runtime"].close,
        objects["model"].unload,
        lambda: [tensor.free() for tensor in objects["tensors"]],
        objects["execution"].wait,
    )
    for i in order:
        ends[i]()
        ends[i]()
    assert objects["runtime"].is_closed and objects["model"].is_unloaded
    assert not objects["call"].is_valid and objects["execution"].done()
    assert all(tensor.is_freed for tensor in objects["tensors"])
    with pytest.raises(SpikeError, match="unloaded model or with a freed tensor"):
        objects["call"].execute()


def test_a_second_runtime_is_refused_and_harms_nothing(negate):
    model = SpikeModel.load_from_neff(negate)
    for _ in range(2):
        with pytest.raises(SpikeError, match="a previous instance still exists"):
            Spike()
    result = model({"x": SpikeTensor.from_numpy(X)})["y"]
    np.testing.assert_array_equal(result.numpy(), -X)


def reset() -> None:
    with pytest.warns(UserWarning, match="are now invalid and should not be used"):
        spike.reset()


def test_handles_from_before_a_reset(negate):
    stale_model, stale = SpikeModel.load_from_neff(negate), SpikeTensor.from_numpy(X)
    stale_model({"x": stale}, {"y": stale})
    reset()
    model, x = SpikeModel.load_from_neff(negate), SpikeTensor.from_numpy(X)
    y = SpikeTensor.zeros(X.shape, X.dtype)
    for use in (
        stale.numpy,
        lambda: stale.fill(0),
        lambda: stale.slice(1),
        lambda: x.copy_from(stale),
        lambda: stale_model({"x": stale}, {"y": stale}),
        lambda: stale_model({"x": x}, {"y": y}),
        lambda: model({"x": stale}, {"y": y}),
        lambda: stale_model.benchmark({"x": x}),
        lambda: stale_model.execute_async({"x": x}, {"y": y}),
        lambda: spike.get_spike_singleton().tensor_read(stale.tensor_ref),
    ):
        with pytest.raises(SpikeError):
            use()
    stale.close()
    stale_model.close()
    model({"x": x}, {"y": y})
    np.testing.assert_array_equal(y.numpy(), -X)


def test_many_resets(negate):
    for _ in range(20):
        model = SpikeModel.load_from_neff(negate)
        np.testing.assert_array_equal(
            model({"x": SpikeTensor.from_numpy(X)})["y"].numpy(), -X
        )
        reset()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spike.reset()


def test_memory_goes_with_its_last_owner(negate):
    runtime = spike.get_spike_singleton()
    model = SpikeModel.load_from_neff(negate)
    before = runtime.memory_stats()[0]
    x = SpikeTensor.from_numpy(X)
    y = SpikeTensor.zeros(X.shape, X.dtype)
    model({"x": x}, {"y": y})  # remembered, without keeping the tensors
    view = x.reshape(-1)
    del x, y
    assert before < runtime.memory_stats()[0]
    np.testing.assert_array_equal(view.numpy(), X.ravel())
    del view
    assert runtime.memory_stats()[0] == before


def python(script: str, neff: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, neff],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ,
    )


EXIT = """
import sys
import numpy as np, spike
tensors = [spike.SpikeTensor.zeros((64,), np.float32) for _ in range(128)]
model = spike.SpikeModel.load_from_neff(sys.argv[1])
x, y = (spike.SpikeTensor.zeros((3, 4), np.float32) for _ in range(2))
model({"x": x}, {"y": y})
last = [model.execute_async({"x": x}, {"y": y}) for _ in range(8)][-1]
last.wait()
cycle = [tensors, model, last]
cycle.append(cycle)
"""


@pytest.mark.parametrize(("end", "status"), [("raise SystemExit(3)", 3), ("1 / 0", 1)])
def test_exit_with_everything_alive(negate, end, status):
    result = python(EXIT + end, negate)
    assert result.returncode == status and result.stdout == ""
    said = result.stderr.splitlines()
    # Python 3.13 shows the line as well.
    assert len(said) in ((3, 5) if status == 1 else (0,)), result.stderr


FORK = """
import os, sys, warnings
import numpy as np, spike
X = np.ones((3, 4), np.float32)
warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
def run():
    model = spike.SpikeModel.load_from_neff(sys.argv[1])
    x = spike.SpikeTensor.from_numpy(X)
    assert (model({"x": x})["y"].numpy() == -X).all()
    return model, x
def child(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
child(run)  # before the first use: a runtime of its own, which ends with it
model, x = run()
def refused():
    for use in (x.numpy, lambda: model({"x": x}), spike.get_spike_singleton, run):
        try:
            use()
        except spike.SpikeError as error:
            assert "does not survive a fork" in str(error), error
        else:
            raise AssertionError(use)
    spike.reset()
child(refused)
assert (model({"x": x})["y"].numpy() == -X).all()
"""


def test_fork(negate):
    result = python(FORK, negate)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_core_that_another_process_has(negate):
    SpikeTensor.zeros((1,), np.int8)
    script = """
import spike
try:
    spike.get_spike_singleton()
except spike.NrtError as error:
    print(error)
"""
    said = python(script, negate).stdout
    assert said.startswith("NRT Error NRT_FAILURE(1): Failed to initialize"), said
    assert "NeuronCore(s) not available" in said
    assert f"taken by process {os.getpid()} of user " in said, said
    assert "NEURON_RT_VISIBLE_CORES" in said
    reset()
    assert python(script, negate).stdout == ""
