"""spike over the emulated libnrt: values, errors, times, many cores."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest

import spike
from nkipy.hlo.ir import AliasInfo
from spike import NrtError, SpikeModel, SpikeTensor

pytestmark = pytest.mark.usefixtures("emulator")

X = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_add(neff):
    path = neff(lambda b, x, y: b.add(x, y), X, X, names=["x", "y"], results=["sum"])
    with SpikeModel.load_from_neff(path) as model:
        assert list(model.input_tensors_info) == ["x", "y"]
        x, y = SpikeTensor.from_numpy(X), SpikeTensor.from_numpy(X * 2)
        result = model({"x": x, "y": y})["sum"]
        np.testing.assert_array_equal(result.numpy(), X * 3)
        for _ in range(3):
            model({"x": x, "y": result}, {"sum": result})
        np.testing.assert_array_equal(result.numpy(), X * 6)


@pytest.mark.parametrize(
    "dtype", [np.bool_, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, np.int32]
)
def test_dtypes_are_the_neffs_own(neff, dtype):
    array = np.array([0, 1, 1, 0]).astype(dtype)
    path = neff(lambda b, x: b.reverse(x, [0]), array[:3], names=["x"], results=["y"])
    model = SpikeModel.load_from_neff(path)
    name = np.dtype(dtype).name
    assert model.input_tensors_info["x"].dtype == name
    (result,) = model({"x": SpikeTensor.from_numpy(array[:3])}).values()
    assert result.numpy().dtype == dtype
    assert result.numpy().tobytes() == array[:3][::-1].tobytes()
    wrong = SpikeTensor.from_numpy(np.zeros(3, ml_dtypes.float8_e4m3fn))
    with pytest.raises(ValueError, match=f"expected dtype {name}, got float8_e4m3fn"):
        model({"x": wrong})


def test_outputs_written_into_inputs(neff):
    path = neff(
        lambda b, s, x: b.add(s, x),
        X,
        X,
        names=["s.must_alias_input", "x"],
        results=["s"],
        aliases=[AliasInfo(0, 0, "s", True)],
    )
    model = SpikeModel.load_from_neff(path)
    state, x = SpikeTensor.zeros(X.shape, X.dtype), SpikeTensor.from_numpy(X)
    inputs = {"s.must_alias_input": state, "x": x}
    assert model(inputs)["s"] is state
    for _ in range(2):
        model(inputs, {"s": state})
    np.testing.assert_array_equal(state.numpy(), 3 * X)
    with pytest.raises(ValueError, match="Output s: expected the tensor of input"):
        model(inputs, {"s": x})


def test_times(neff):
    path = neff(lambda b, x: b.negate(x), X, names=["x"], results=["y"])
    model = SpikeModel.load_from_neff(path)
    inputs = {"x": SpikeTensor.from_numpy(X)}
    device = model.benchmark(inputs, warmup_iter=1, benchmark_iter=300)
    assert device.estimated and device.iterations == 300
    assert 0 < device.min_ms == pytest.approx(device.max_ms)
    host = model.benchmark(inputs, benchmark_iter=3, mode="host")
    assert not host.estimated and host.iterations == 3


def test_async_chain(neff):
    path = neff(lambda b, x: b.add(x, x), X, names=["x"], results=["y"])
    model = SpikeModel.load_from_neff(path)
    tensors = [SpikeTensor.from_numpy(X)] + [
        SpikeTensor.zeros(X.shape, X.dtype) for _ in range(3)
    ]
    chain = [
        model.execute_async({"x": a}, {"y": b}) for a, b in zip(tensors, tensors[1:])
    ]
    chain[-1].wait()
    assert all(execution.done() for execution in chain)
    np.testing.assert_array_equal(tensors[-1].numpy(), X * 8)


def test_profile(neff, tmp_path):
    path = neff(lambda b, x: b.negate(x), X, names=["x"], results=["y"])
    model = SpikeModel.load_from_neff(path)
    model({"x": SpikeTensor.from_numpy(X)}, save_trace=True)
    assert path.with_suffix(".ntff").stat().st_size > 0
    with pytest.raises(NrtError, match="profile"):
        model({"x": SpikeTensor.from_numpy(X)}, None, True, str(tmp_path / "no/file"))


def test_device_memory(neff, monkeypatch):
    spike.get_spike_singleton().close()
    monkeypatch.setenv("NKIPY_EMULATOR_HBM_BYTES", str(1 << 20))
    used, limit = spike.get_spike_singleton().memory_stats()
    assert limit == 1 << 20
    tensor = SpikeTensor.zeros((1 << 18,), np.uint8)
    assert spike.get_spike_singleton().memory_stats()[0] >= used + (1 << 18)
    with pytest.raises(NrtError) as raised:
        SpikeTensor.empty((1 << 20,), np.uint8)
    assert raised.value.status_name == "NRT_RESOURCE"
    tensor.fill(7)
    other = SpikeTensor.zeros((1 << 18,), np.uint8)
    other.copy_from(tensor)
    assert set(other.slice(5, 9).numpy().tolist()) == {7}
    tensor.close()
    other.close()
    assert spike.get_spike_singleton().memory_stats()[0] == used


def test_bad_files(tmp_path):
    for name, content in (("empty", b""), ("short", b"x" * 100), ("long", b"x" * 4096)):
        path = tmp_path / f"{name}.neff"
        path.write_bytes(content)
        with pytest.raises(NrtError, match="Failed to load model"):
            SpikeModel.load_from_neff(path)
    assert not SpikeTensor.zeros((1,), np.int8).is_freed


def test_no_such_core(neff):
    path = neff(lambda b, x: b.negate(x), X)
    for use in (
        lambda: SpikeModel.load_from_neff(path, core_id=2),
        lambda: SpikeTensor.zeros((1,), np.int8, core_id=2),
    ):
        with pytest.raises(NrtError) as raised:
            use()
        assert raised.value.status_name == "NRT_INVALID"


def test_a_core_of_libnrts_choice(neff):
    """The first without a model: the second, and then either."""
    path = neff(lambda b, x: b.negate(x), X, names=["x"], results=["y"])
    models = [SpikeModel.load_from_neff(path, core_id=core) for core in (0, -1)]
    assert [model.model_ref.core_id for model in models] == [0, 1]
    assert "core_id=1" in repr(models[1].model_ref)
    result = models[1]({"x": SpikeTensor.from_numpy(X, core_id=1)})["y"]
    assert result.core_id == 1
    np.testing.assert_array_equal(result.numpy(), -X)


@pytest.mark.parametrize(
    "status", [1, 2, 4, 5, 6, 101, 1002, 1003, 1004, 1005, 1006, 1200, 1202, 1206]
)
def test_injected_failures(neff, monkeypatch, status):
    spike.get_spike_singleton().close()
    monkeypatch.setenv("NKIPY_EMULATOR_INJECT", f"nrt_execute={status}")
    path = neff(lambda b, x: b.negate(x), X, names=["x"], results=["y"])
    model = SpikeModel.load_from_neff(path)
    x, y = SpikeTensor.from_numpy(X), SpikeTensor.zeros(X.shape, X.dtype)
    with pytest.raises(NrtError, match="Failed to execute model") as raised:
        model({"x": x}, {"y": y})
    assert raised.value.status == status


def test_threads_on_two_cores(neff):
    path = neff(lambda b, x: b.add(x, x), X, names=["x"], results=["y"])
    until = time.monotonic() + 1

    def work(core: int) -> int:
        count = 0
        while time.monotonic() < until:
            with SpikeModel.load_from_neff(path, core_id=core) as model:
                x = SpikeTensor.from_numpy(X + core, core_id=core)
                for _ in range(3):
                    (y,) = model({"x": x}).values()
                    np.testing.assert_array_equal(y.numpy(), 2 * (X + core))
                model.execute_async({"x": x}, {"y": y})
            count += 1
        return count

    with ThreadPoolExecutor(4) as pool:
        assert min(pool.map(work, [0, 1, 0, 1])) > 1


def test_exit_with_live_tensors():
    script = """
import numpy as np, spike
keep = [spike.SpikeTensor.zeros((64,), np.float32) for _ in range(128)]
keep.append(keep)
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")
