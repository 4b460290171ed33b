"""One runtime per process, which tensors and models keep open."""

from __future__ import annotations

import itertools
import os
import threading
import warnings

import numpy as np
import pytest

import spike
from spike import SpikeError, SpikeModel, SpikeTensor
from spike._spike import Spike


def make_objects(fake):
    runtime = Spike()
    tensor = runtime.allocate_tensor(64, name="t")
    return {
        "spike": runtime,
        "tensor": tensor,
        "slice": runtime.slice_from_tensor(tensor, 16),
        "model": runtime.load_model(str(fake.neff())),
    }


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_any_order_of_destruction(fake, order):
    objects = make_objects(fake)
    names = [list(objects)[i] for i in order]
    for name in names[:-1]:
        del objects[name]
        assert "nrt_close" not in fake.calls()
    objects.clear()
    calls = fake.calls()
    assert calls[-1] == "nrt_close"
    assert calls.count("nrt_tensor_free") == 2 and calls.count("nrt_unload") == 1


def test_close_makes_everything_invalid(fake):
    objects = make_objects(fake)
    runtime, tensor, model = objects["spike"], objects["tensor"], objects["model"]
    call = model.prepare({"x": tensor, "y": tensor}, {"sum": tensor})
    assert tensor.va != 0
    assert runtime.close() == 0 and runtime.close() == 0
    assert runtime.is_closed and tensor.is_freed and model.is_unloaded
    assert tensor.va == 0 and not call.is_valid
    for use in (
        lambda: tensor.write(b"x"),
        lambda: runtime.tensor_read(tensor),
        lambda: runtime.get_tensor_info(model),
        lambda: runtime.execute(model, {}, {}),
        lambda: runtime.allocate_tensor(4),
        lambda: runtime.load_model(str(fake.neff())),
        call.execute,
    ):
        with pytest.raises(SpikeError):
            use()


def test_nothing_is_freed_after_close(fake):
    objects = make_objects(fake)
    objects["spike"].close()
    objects.clear()
    assert fake.calls()[-1] == "nrt_close"


def test_stale_objects_stay_invalid_beside_a_new_runtime(fake):
    first = Spike()
    stale = first.allocate_tensor(8)
    first.close()
    second = Spike()
    tensor = second.allocate_tensor(8)
    first.close()
    with pytest.raises(SpikeError, match="previous instance still exists"):
        Spike()
    assert stale.is_freed and not tensor.is_freed
    for runtime, used in ((second, stale), (first, tensor)):
        with pytest.raises(SpikeError):
            runtime.tensor_write(used, b"12")


def test_one_of_many_threads_gets_the_runtime(fake):
    made, refused, start = [], [], threading.Barrier(8)

    def open_runtime():
        start.wait()
        try:
            made.append(Spike())
        except SpikeError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=open_runtime) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and len(refused) == 7
    assert fake.calls().count("nrt_init") == 1


def test_a_failed_init_leaves_room_for_another(fake):
    fake.inject("nrt_init", 1)
    with pytest.raises(spike.NrtError, match="Failed to initialize NRT runtime"):
        Spike()
    assert not Spike().is_closed


def test_core_count_needs_no_runtime(fake):
    assert Spike.get_visible_neuron_core_count() == 2
    assert fake.calls() == ["nrt_get_visible_nc_count"]


def test_reset_does_not_come_back_by_stale_objects(fake):
    tensor = SpikeTensor.zeros((4,), np.float32)
    model = SpikeModel.load_from_neff(fake.neff())
    with pytest.warns(UserWarning, match="are now invalid and should not be used"):
        spike.reset()
    for use in (tensor.numpy, lambda: tensor.fill(0), lambda: model({}, {})):
        with pytest.raises((SpikeError, ValueError)):
            use()
    tensor.close()
    model.close()
    assert fake.calls().count("nrt_init") == 1
    spike.configure()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spike.reset()


def test_configure(fake, monkeypatch):
    monkeypatch.setenv("NEURON_RT_VISIBLE_CORES", "0")
    spike.configure(visible_cores=iter([np.int64(2), 3]))
    assert os.environ["NEURON_RT_VISIBLE_CORES"] == "2,3"
    spike.configure([])
    assert os.environ["NEURON_RT_VISIBLE_CORES"] == "2,3"
    for cores, error in ((3, TypeError), ([True], TypeError), (["1"], TypeError)):
        with pytest.raises(error):
            spike.configure(cores)
    with pytest.raises(TypeError, match=r"Use \[3\] or \(3,\)"):
        spike.configure(3)
    with pytest.raises(ValueError, match="not negative: got -1"):
        spike.configure([-1])
    runtime = spike.get_spike_singleton()
    assert spike.get_spike_singleton() is runtime
    with pytest.raises(RuntimeError, match="Spike runtime is already active"):
        spike.configure([0])
    runtime.close()
    spike.configure([0])
    assert spike.get_spike_singleton() is not runtime


EXIT = """
import numpy as np, spike
tensors = [spike.SpikeTensor.zeros((64,), np.float32) for _ in range(128)]
model = spike.SpikeModel.load_from_neff(NEFF)
cycle = [tensors, model]; cycle.append(cycle)
"""


def test_exit_with_live_tensors(fake):
    result = fake.run(EXIT)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_exit_with_a_bare_runtime_and_executions_in_flight(fake):
    result = fake.run(
        """
import ctypes, os, spike
from spike._spike import Spike
ctypes.CDLL(os.environ["SPIKE_LIBNRT"]).fake_set_delay_us(50000)
runtime = Spike()
t = runtime.allocate_tensor(64)
model = runtime.load_model(NEFF)
running = [runtime.execute_async(model, {"x": t, "y": t}, {"sum": t}) for _ in range(3)]
"""
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_forked_child_does_not_touch_the_runtime(fake):
    result = fake.run(
        """
import ctypes, os, spike, numpy as np
fake = ctypes.CDLL(os.environ["SPIKE_LIBNRT"])
fake.fake_calls.restype = ctypes.c_char_p
tensor = spike.SpikeTensor.zeros((16,), np.float32)
model = spike.SpikeModel.load_from_neff(NEFF)
before = fake.fake_calls()
pid = os.fork()
if pid == 0:
    said = []
    for use in (tensor.numpy, lambda: tensor.fill(1), model.model_ref.tensor_info,
                lambda: spike.get_spike_singleton(), tensor.close, model.close):
        try:
            use()
        except spike.SpikeError as error:
            said.append("does not survive a fork" in str(error))
    del tensor, model
    spike.reset()
    os._exit(0 if said == [True] * 4 and fake.fake_calls() == before else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert tensor.numpy().shape == (16,)
"""
    )
    assert (result.returncode, result.stderr) == (0, "")
