"""The GIL, and what threads may do to each other."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import spike
from spike import SpikeError, SpikeModel, SpikeTensor
from spike._spike import Spike

DELAY = 0.1


def runs_beside(fake, use: Callable[[], object]) -> bool:
    """Whether Python goes on in another thread during a slow call."""
    fake.delay(DELAY)
    thread = threading.Thread(target=use)
    start = time.perf_counter()
    thread.start()
    ticks = 0
    while thread.is_alive():
        ticks += 1
        time.sleep(0.001)
    assert time.perf_counter() - start >= DELAY
    fake.delay(0)
    return ticks > 10


def test_the_gil_is_released(fake):
    model = SpikeModel.load_from_neff(fake.neff())
    x = SpikeTensor.zeros((4, 4), np.float32)
    io = {"x": x, "y": x}, {"sum": x}
    model(*io)
    array = np.zeros((4, 4), np.float32)
    runtime = spike.get_spike_singleton()
    for use in (
        lambda: model(*io),
        lambda: model({"x": x, "y": x}),
        lambda: model.benchmark(*io, 0, 1, mode="host"),
        lambda: model.execute_async(*io).wait(),
        lambda: x.write_from_numpy(array),
        lambda: x.numpy(array),
        lambda: runtime.tensor_read(x.tensor_ref),
        lambda: runtime.tensor_write(x.tensor_ref, b"1"),
    ):
        assert runs_beside(fake, use)


@pytest.mark.parametrize("action", ["tensor", "model", "close", "drop"])
def test_freeing_under_a_running_call(fake, action):
    """What a call uses goes after it; the fake counts a violation otherwise."""
    runtime = Spike()
    model = runtime.load_model(str(fake.neff()))
    x = runtime.allocate_tensor(64)
    fake.delay(DELAY)
    io = {"x": x, "y": x}, {"sum": x}
    thread = threading.Thread(target=runtime.execute, args=(model, *io))
    thread.start()
    while "nrt_execute" not in fake.calls():
        time.sleep(0.001)
    start = time.perf_counter()
    if action == "tensor":
        x.free()
    elif action == "model":
        runtime.unload_model(model)
    elif action == "close":
        runtime.close()
    else:
        del runtime, model, x, io
    waited = time.perf_counter() - start
    assert (waited > DELAY / 2) == (action == "close")
    thread.join()
    freed = {"tensor": "nrt_tensor_free", "model": "nrt_unload"}
    assert freed.get(action, "nrt_close") in fake.calls()


def test_close_while_threads_use_it(fake):
    runtime = Spike()
    tensors = [runtime.allocate_tensor(64) for _ in range(4)]
    refused = []

    def use(tensor):
        try:
            while True:
                tensor.write(b"12345678")
        except SpikeError as error:
            refused.append(str(error))

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(use, tensor) for tensor in tensors]
        time.sleep(0.05)
        runtime.close()
        for future in futures:
            future.result(10)
    assert len(refused) == 4


def work(path: str, core: int, until: float, seed: int) -> int:
    """Load, execute and free at random; returns how often."""
    choose, count = random.Random(seed), 0
    while time.monotonic() < until:
        model = SpikeModel.load_from_neff(path, core_id=core)
        x, y = (SpikeTensor.zeros((4, 4), np.float32, core_id=core) for _ in range(2))
        out = SpikeTensor.empty((4, 4), np.float32, core_id=core)
        for _ in range(choose.randrange(5)):
            model({"x": x, "y": y}, {"sum": out})
            assert set(out.numpy().tobytes()) == {1}
        running = model.execute_async({"x": x, "y": y}, {"sum": out})
        for close in choose.sample([x.close, y.close, model.close, running.wait], 3):
            close()
        count += 1
    return count


def test_many_threads_on_two_cores(fake):
    path, until = str(fake.neff()), time.monotonic() + 1.5
    spike.get_spike_singleton()
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(work, path, i % 2, until, i) for i in range(8)]
    assert all(job.result() > 3 for job in jobs)


def test_threads_call_one_model_with_tensors_of_their_own(fake):
    """Each call is remembered, and drops what was, while others come."""
    fake._library.fake_record(False)
    model = SpikeModel.load_from_neff(fake.neff())

    def call(seed: int) -> None:
        x = np.full((4, 4), seed, np.float32)
        expected = (x.view(np.uint8) + 1).view(np.float32)  # as the fake computes
        for _ in range(300):
            io = {"x": SpikeTensor.from_numpy(x), "y": SpikeTensor.from_numpy(x)}
            results = model(io)
            assert results is not None
            np.testing.assert_array_equal(results["sum"].numpy(), expected)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(call, range(6)))
