"""Executions in the background, by libnrt's interface or by threads."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest

import spike
from spike import NrtError, SpikeError, SpikeModel, SpikeTensor
from spike._spike import Spike, has_native_async


def start(fake):
    model = SpikeModel.load_from_neff(fake.neff("input x int8 4 4\noutput y int8 4 4"))
    tensors = [SpikeTensor.from_numpy(np.full(4, i, np.int8)) for i in range(6)]
    return model, tensors


def value(tensor: SpikeTensor) -> int:
    return int(tensor.numpy()[0])


def test_which_interface_is_used(async_fake):
    model, (x, y, *_) = start(async_fake)
    model.execute_async({"x": x}, {"y": y}).wait()
    native = "nrta_execute_schedule" in async_fake.calls()
    assert native == has_native_async()
    assert native == ("ASYNC" in async_fake.path.name)


def test_wait_twice(async_fake):
    model, (x, y, *_) = start(async_fake)
    async_fake.delay(0.05)
    execution = model.execute_async({"x": x}, {"y": y})
    assert not execution.done()
    execution.wait()
    execution.wait()
    assert execution.done() and execution.is_completed()
    async_fake.delay(0)
    assert value(y) == 1


def test_waiting_for_the_last_of_a_chain(async_fake):
    model, tensors = start(async_fake)
    async_fake.delay(0.01)
    chain = [
        model.execute_async({"x": a}, {"y": b})
        for a, b in zip(tensors[:4], tensors[1:])
    ]
    chain[-1].wait()
    async_fake.delay(0)
    assert value(tensors[4]) == 4
    assert all(execution.done() for execution in chain)
    numbers = [execution.sequence for execution in chain]
    assert numbers == list(range(numbers[0], numbers[0] + 4))


def test_tensors_are_kept_until_it_is_done(async_fake):
    model, (x, y, *_) = start(async_fake)
    async_fake.delay(0.05)
    execution = model.execute_async({"x": x}, {"y": y})
    x.close()
    model.close()
    assert "nrt_tensor_free" not in async_fake.calls()
    execution.wait()
    deadline = time.monotonic() + 5
    while "nrt_unload" not in async_fake.calls() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert async_fake.calls().count("nrt_tensor_free") == 1
    async_fake.delay(0)
    assert value(y) == 1


def test_a_dropped_handle_and_close(async_fake):
    model, (x, y, *_) = start(async_fake)
    async_fake.delay(0.03)
    model.execute_async({"x": x}, {"y": y})
    kept = model.execute_async({"x": x}, {"y": y})
    spike.get_spike_singleton().close()
    assert kept.done()
    kept.wait()
    assert async_fake.calls()[-1] == "nrt_close"


def test_failure(async_fake):
    model, (x, y, *_) = start(async_fake)
    where = "completion" if has_native_async() else "nrt_execute"
    async_fake.inject(where, 1202)
    execution = model.execute_async({"x": x}, {"y": y})
    for _ in range(2):
        with pytest.raises(NrtError, match="Asynchronous model execution failed") as e:
            execution.wait()
        assert e.value.status_name == "NRT_EXEC_HW_ERR_NC_UE"
    model.execute_async({"x": x}, {"y": y}).wait()


def test_validation(async_fake):
    model, (x, y, *_) = start(async_fake)
    with pytest.raises(ValueError, match="Missing output"):
        model.execute_async({"x": x}, {})
    with pytest.raises(TypeError):
        model.execute_async({"x": x})
    y.close()
    with pytest.raises(SpikeError, match="Tensor 'y' is freed"):
        model.execute_async({"x": x}, {"y": y})


def test_a_full_queue_is_reported(async_fake):
    if not has_native_async():
        pytest.skip("threads have no limit")
    model, (x, y, *_) = start(async_fake)
    async_fake.delay(0.05)
    running = [model.execute_async({"x": x}, {"y": y}) for _ in range(4)]
    with pytest.raises(NrtError, match="NRT_QUEUE_FULL") as raised:
        model.execute_async({"x": x}, {"y": y})
    assert raised.value.status == 7
    running[0].wait()
    model.execute_async({"x": x}, {"y": y}).wait()


def test_what_is_in_flight_keeps_no_runtime_open(async_fake):
    """Closing waits for it, though nobody holds a handle of it."""
    async_fake.delay(0.02)
    runtime = Spike()
    tensor, model = (
        runtime.allocate_tensor(64),
        runtime.load_model(str(async_fake.neff())),
    )
    for _ in range(2):
        runtime.execute_async(model, {"x": tensor, "y": tensor}, {"sum": tensor})
    del tensor, model
    assert "nrt_close" not in async_fake.calls()
    del runtime
    assert async_fake.calls()[-1] == "nrt_close"
    assert not Spike().is_closed


def test_waiting_can_be_interrupted(async_fake):
    model, (x, y, *_) = start(async_fake)
    async_fake.delay(0.5)
    execution = model.execute_async({"x": x}, {"y": y})
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        execution.wait()
    timer.join()
    assert not execution.done()
    execution.wait()
    assert execution.done()
