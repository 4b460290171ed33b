"""``DeviceKernel``: compiled once, loaded once, called with tensors by name."""

from __future__ import annotations

import gc
import random
import sys
import threading
import time
import weakref
from dataclasses import dataclass

import numpy as np
import pytest

import spike
from nkipy.core.compile import CompilationTarget
from nkipy.core.errors import NKIPyValueError
from nkipy.core.trace import NKIPyKernel
from nkipy.execution import CALLS, LOADED, CallCache
from nkipy.runtime import (
    DeviceKernel,
    DeviceTensor,
    baremetal_jit,
    max_loaded_kernels,
    set_max_loaded_kernels,
    unload_kernels,
)
from nkipy.runtime import device_kernel as module
from nkipy.runtime.device_kernel import _LOADED_KERNELS
from nkipy.runtime.loaded_kernels import LoadedKernels

pytestmark = pytest.mark.device
F32 = np.float32


def ones(*shape):
    return np.ones(shape, F32)


def on_device(array):
    return DeviceTensor.from_numpy(array)


def add(x, y):
    return x + y


@pytest.fixture(autouse=True)
def no_kernels():
    unload_kernels()
    yield
    unload_kernels()


@pytest.fixture
def traces(monkeypatch):
    """The arguments that kernels are traced for."""
    made = []
    original = NKIPyKernel.specialize

    def specialize(self, *args, **kwargs):
        made.append(args)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(NKIPyKernel, "specialize", specialize)
    return made


# ------------------------------------------------------------------------- calling


def test_results_by_name_are_made_or_written_into():
    kernel = DeviceKernel.compile_and_load(add, ones(2, 3), ones(3), name="sum")
    assert kernel.name == "sum"
    inputs = {"x": on_device(ones(2, 3)), "y": on_device(ones(3) * 2)}
    made = kernel(inputs)
    assert list(made) == ["output0"]
    assert isinstance(made["output0"], DeviceTensor)
    np.testing.assert_array_equal(made["output0"].numpy(), np.full((2, 3), 3, F32))
    target = DeviceTensor.zeros((2, 3))
    assert kernel(inputs=inputs, outputs={"output0": target}) is None
    np.testing.assert_array_equal(target.numpy(), np.full((2, 3), 3, F32))


def test_a_tensor_may_be_input_and_result():
    kernel = DeviceKernel.compile_and_load(add, ones(2), ones(2))
    x = on_device(ones(2))
    for expected in (2, 4, 8):
        kernel({"x": x, "y": x}, {"output0": x})
        np.testing.assert_array_equal(x.numpy(), [expected, expected])


def test_dtypes_that_the_runtime_library_does_not_have():
    kernel = DeviceKernel.compile_and_load(
        lambda x, flags: (x > 0, flags, x.astype("float8_e5m2")),
        ones(2),
        np.zeros(3, bool),
    )
    flags = np.array([True, False, True])
    made = kernel({"x": on_device(np.array([-1, 2], F32)), "flags": on_device(flags)})
    got = {name: tensor.numpy() for name, tensor in made.items()}
    assert [a.dtype.name for a in got.values()] == ["bool", "bool", "float8_e5m2"]
    np.testing.assert_array_equal(got["output0"], [False, True])
    np.testing.assert_array_equal(got["output1"], flags)
    np.testing.assert_array_equal(got["output2"].astype(F32), [-1, 2])


def test_a_written_parameter_is_a_result_in_the_same_memory():
    def update(cache, position, value):
        cache[position] = value
        return np.sum(cache)

    kernel = DeviceKernel.compile_and_load(
        update, ones(4, 2), np.array(0, np.int32), ones(2)
    )
    cache = DeviceTensor.zeros((4, 2))
    for i in range(3):
        inputs = {
            "cache": cache,
            "position": on_device(np.array(i, np.int32)),
            "value": on_device(ones(2) * i),
        }
        made = kernel(inputs)
        assert made["cache"] is cache
        np.testing.assert_array_equal(made["output0"].numpy(), i * (i + 1))
    # By the names that the NEFF has:
    inputs["cache.must_alias_input"] = inputs.pop("cache")
    total = DeviceTensor.zeros(())
    kernel(inputs, {"cache": cache, "output0": total})
    np.testing.assert_array_equal(cache.numpy(), [[0, 0], [1, 1], [2, 2], [0, 0]])
    np.testing.assert_array_equal(total.numpy(), np.array(6, F32))


def test_trees_arrays_without_elements_and_static_values():
    @dataclass
    class Config:
        scale: float

    def kernel(tree, empty, config, dtype):
        return (tree["a"] + np.sum(empty)).astype(dtype) * config.scale

    compiled = DeviceKernel.compile_and_load(
        kernel, {"a": ones(2)}, ones(0), Config(2.0), np.float16
    )
    made = compiled({"tree.a": on_device(ones(2)), "empty": DeviceTensor.zeros(0)})
    assert made["output0"].dtype == np.float16
    np.testing.assert_array_equal(made["output0"].numpy(), [2, 2])


def scaled(x, weights):
    return x * weights["scale"] + weights["layers"][0]


def weights_of(scale, shift):
    return {
        "scale": np.full(2, scale, F32),
        "layers": [np.full(2, shift, np.float64)],
        "name": "w",
    }


@pytest.mark.filterwarnings("ignore:argument 'weights.layers.0' has dtype float64")
def test_arrays_in_containers_stay_bound_until_a_call_names_others():
    weights = weights_of(3, 1)
    kernel = DeviceKernel.compile_and_load(scaled, ones(2), weights)
    weights["scale"][:] = 100  # what was given is what was bound
    x = on_device(ones(2))
    np.testing.assert_array_equal(kernel({"x": x})["output0"].numpy(), [4, 4])
    other = {"x": x, "weights.scale": on_device(ones(2) * 5)}
    np.testing.assert_array_equal(kernel(other)["output0"].numpy(), [6, 6])
    target = DeviceTensor.zeros(2)
    kernel({"x": x}, {"output0": target})
    np.testing.assert_array_equal(target.numpy(), [4, 4])
    assert kernel.benchmark({"x": x}, warmup_iter=1, benchmark_iter=2).iterations == 2
    with pytest.raises(ValueError, match="Missing input"):
        kernel({"weights.scale": x})


@pytest.mark.filterwarnings("ignore:argument 'weights.layers.0' has dtype float64")
def test_what_is_bound_belongs_to_one_kernel():
    x = on_device(ones(2))
    kernels = {
        scale: DeviceKernel.compile_and_load(scaled, ones(2), weights_of(scale, 0))
        for scale in (2, 3)
    }
    for scale, kernel in kernels.items():
        np.testing.assert_array_equal(kernel({"x": x})["output0"].numpy(), [scale] * 2)
        again = DeviceKernel.compile_and_load(scaled, ones(2), weights_of(scale, 0))
        assert again is kernel


def test_device_arrays_in_containers_are_used_where_they_are():
    def kernel(state, x):
        state["sum"] += x
        return state["sum"] * 2

    total = DeviceTensor.zeros(2)
    compiled = DeviceKernel.compile_and_load(kernel, {"sum": total}, ones(2))
    x = on_device(ones(2))
    for step in (1, 2):
        made = compiled({"x": x})
        assert made["state.sum"] is total
        np.testing.assert_array_equal(total.numpy(), [step, step])
        np.testing.assert_array_equal(made["output0"].numpy(), [2 * step] * 2)
    other = DeviceTensor.zeros(2)
    for state, is_same in ((other, False), (total, True)):
        again = DeviceKernel.compile_and_load(kernel, {"sum": state}, ones(2))
        assert (again is compiled) == is_same


def test_the_items_of_variadic_parameters_are_no_containers():
    def kernel(*arrays, **named):
        return arrays[0] + named["y"]

    compiled = DeviceKernel.compile_and_load(kernel, ones(2), y=ones(2))
    x = on_device(ones(2))
    with pytest.raises(ValueError, match="Missing input"):
        compiled({"arrays.0": x})
    made = compiled({"arrays.0": x, "named.y": x})
    np.testing.assert_array_equal(made["output0"].numpy(), [2, 2])


def test_an_output_that_aliases_an_argument_is_known_by_its_place_as_well():
    def kernel(a, b, x):
        a += x
        b -= x
        return a, x * 2, b

    compiled = DeviceKernel.compile_and_load(kernel, ones(2), ones(2), ones(2))
    for names in (("a", "output1", "b"), ("output0", "output1", "output2")):
        a, b, made = on_device(ones(2)), on_device(ones(2)), DeviceTensor.zeros(2)
        inputs = {"a": a, "b": b, "x": on_device(ones(2) * 3)}
        compiled(inputs, dict(zip(names, (a, made, b))))
        got = [t.numpy().tolist() for t in (a, made, b)]
        assert got == [[4, 4], [6, 6], [-2, -2]]
    inputs = {name: on_device(ones(2)) for name in ("a", "b", "x")}
    targets = compiled.allocate_output_tensors(inputs)
    assert [targets[0] is inputs["a"], targets[2] is inputs["b"]] == [True, True]
    named = {f"output{i}": target for i, target in enumerate(targets)}
    compiled.execute_async(inputs, named).wait()
    assert [t.numpy().tolist() for t in targets] == [[2, 2], [2, 2], [0, 0]]
    a, made, b = targets
    with pytest.raises(NKIPyValueError, match="'a' is given twice"):
        compiled(inputs, {"a": a, "output0": a, "output1": made, "output2": b})
    with pytest.raises(ValueError, match="output3"):
        compiled(inputs, {"output0": a, "output1": made, "output3": b})


def test_a_parameter_that_is_called_as_an_output_keeps_its_name():
    def kernel(output1, x):
        output1 += x
        return x * 2, output1

    compiled = DeviceKernel.compile_and_load(kernel, ones(2), ones(2))
    state, made = on_device(ones(2)), DeviceTensor.zeros(2)
    inputs = {"output1": state, "x": on_device(ones(2))}
    compiled(inputs, {"output0": made, "output1": state})
    assert state.numpy().tolist() == [2, 2] == made.numpy().tolist()


def test_wrong_tensors_are_refused():
    kernel = DeviceKernel.compile_and_load(add, ones(2), ones(2))
    x = on_device(ones(2))
    for inputs, text in (
        ({"x": x, "z": x}, "z"),
        ({"x": x}, "y"),
        ({"x": x, "y": on_device(ones(3))}, "shape"),
        ({"x": x, "y": on_device(np.ones(2, np.int32))}, "dtype"),
    ):
        with pytest.raises((ValueError, AssertionError), match=text):
            kernel(inputs)
    np.testing.assert_array_equal(kernel({"x": x, "y": x})["output0"].numpy(), [2, 2])


def test_what_is_no_tensor_by_name_is_refused():
    kernel = DeviceKernel.compile_and_load(add, ones(2), ones(2))
    x = on_device(ones(2))
    inputs = {"x": x, "y": x}
    for arguments, text in (
        (({"x": x, "y": ones(2)},), "Input y: expected a SpikeTensor, got ndarray"),
        ((inputs, {"output0": 1}), "Output output0: expected a SpikeTensor, got int"),
        ((x, x), "Inputs: expected a dict of SpikeTensor by name, got DeviceTensor"),
        ((inputs, x), "Outputs: expected a dict of SpikeTensor by name, got DeviceTen"),
    ):
        for use in (kernel, kernel.benchmark):
            with pytest.raises(TypeError, match=text):
                use(*arguments)
    with pytest.raises(ValueError, match="Unknown input"):
        kernel({**inputs, "z": 5})


def test_benchmark_counts_what_it_runs():
    kernel = DeviceKernel.compile_and_load(add, ones(2), ones(2))
    inputs = {"x": on_device(ones(2)), "y": on_device(ones(2))}
    for mode in ("device", "host"):
        result = kernel.benchmark(inputs, warmup_iter=2, benchmark_iter=4, mode=mode)
        assert (result.iterations, result.warmup_iterations) == (4, 2)
        assert 0 < result.min_ms <= result.mean_ms <= result.max_ms


# ------------------------------------------------------------------------- caching


def test_device_tensors_are_not_read_to_learn_their_shape(monkeypatch):
    x = on_device(ones(64))
    with monkeypatch.context() as context:
        context.delattr(DeviceTensor, "_read")
        context.delattr(DeviceTensor, "numpy")
        kernel = DeviceKernel.compile_and_load(add, x, x)
    assert kernel.input_tensors_info["x"].shape == [64]


def test_an_equal_call_returns_the_same_kernel_without_tracing(traces):
    first = DeviceKernel.compile_and_load(add, ones(2), ones(2))
    assert DeviceKernel.compile_and_load(add, ones(2), on_device(ones(2))) is first
    assert DeviceKernel.compile_and_load(add, x=ones(2) * 3, y=ones(2)) is first
    again = DeviceKernel.compile_and_load(add, ones(2), ones(2))
    assert again is first
    assert len(traces) == 2  # a device tensor is another kind of argument


def test_what_makes_another_kernel():
    def load(*args, kernel=add, **options):
        return DeviceKernel.compile_and_load(kernel, *args, **options)

    x = ones(2)
    kernels = [
        load(x, x),
        load(ones(3), ones(3)),
        load(x.astype(np.float16), x.astype(np.float16)),
        load(x, x, additional_compiler_args="--auto-cast=none"),
        load(x, x, name="other"),
        load(x, x, cc_enabled=True, rank_id=0, world_size=1),
        load(x, x, use_cached_if_exists=False),
    ]
    assert len({id(k) for k in kernels}) == len(kernels)
    assert load(x, x) is kernels[0]
    assert load(x, x, cc_enabled=True, rank_id=0, world_size=1) is kernels[5]


def test_another_target_is_another_program(tmp_path):
    def compiled(target):
        return DeviceKernel._trace_and_compile(
            add,
            "add",
            (ones(2), ones(2)),
            {},
            additional_compiler_args=None,
            use_cached_if_exists=True,
            build_dir=tmp_path,
            target=target,
        )

    (neff1, key1), (neff2, key2) = map(
        compiled, (CompilationTarget.TRN1, CompilationTarget.TRN2)
    )
    assert key1 != key2 and neff1 != neff2
    assert compiled(CompilationTarget.TRN2) == (neff2, key2)
    assert key2.startswith("add_") and neff2.endswith("/add.neff")
    assert neff2.startswith(str(tmp_path))


def test_a_captured_value_that_changed_is_noticed():
    scale = ones(2)
    kernel = lambda x: x * scale  # noqa: E731
    first = DeviceKernel.compile_and_load(kernel, ones(2))
    scale *= 3
    second = DeviceKernel.compile_and_load(kernel, ones(2))
    assert second is not first
    np.testing.assert_array_equal(
        second({"x": on_device(ones(2))})["output0"].numpy(), [3, 3]
    )


def test_an_attribute_of_a_static_argument_that_changed_is_noticed():
    class Config:
        scale = 1.0

    def kernel(x, c):
        return x * c.scale

    config = Config()
    for scale in (2.0, 7.0):
        config.scale = scale
        loaded = DeviceKernel.compile_and_load(kernel, ones(2), config)
        result = loaded({"x": on_device(ones(2))})["output0"]
        np.testing.assert_array_equal(result.numpy(), [scale, scale])


def test_a_warm_hit_is_quick():
    x = on_device(np.ones((2048, 2048), F32))
    DeviceKernel.compile_and_load(add, x, x)
    times = []
    for _ in range(50):
        start = time.perf_counter()
        DeviceKernel.compile_and_load(add, x, x)
        times.append(time.perf_counter() - start)
    assert min(times) < 100e-6


@pytest.mark.filterwarnings("ignore:spike.reset")
def test_kernels_of_a_closed_runtime_are_not_returned():
    first = DeviceKernel.compile_and_load(add, ones(2), ones(2))
    spike.reset()
    second = DeviceKernel.compile_and_load(add, ones(2), ones(2))
    assert second is not first
    x = on_device(ones(2))
    np.testing.assert_array_equal(second({"x": x, "y": x})["output0"].numpy(), [2, 2])


def test_an_unloaded_kernel_is_loaded_anew():
    first = DeviceKernel.compile_and_load(add, ones(2), ones(2))
    first.unload()
    assert not _LOADED_KERNELS
    x = on_device(ones(2))
    with pytest.raises(spike.SpikeError):
        first({"x": x, "y": x})
    assert DeviceKernel.compile_and_load(add, ones(2), ones(2)) is not first


def load_add(n):
    return DeviceKernel.compile_and_load(add, ones(n), ones(n))


@pytest.fixture
def at_most_two():
    """Room for two programs; says how many there are, those of other tests aside."""
    before = max_loaded_kernels()
    gc.collect()
    LOADED.evict()
    others = len(LOADED)
    set_max_loaded_kernels(others + 2)
    yield lambda: len(LOADED) - others
    set_max_loaded_kernels(before)


def test_kernels_that_nobody_has_are_bounded_with_all_other_programs(at_most_two):
    models = [load_add(n).model_ref for n in (1, 2, 3)]
    kept = [load_add(n).model_ref for n in (3, 2)]
    assert kept == models[:0:-1] and at_most_two() == len(_LOADED_KERNELS) == 2
    assert load_add(1).model_ref is not models[0]
    on_host = baremetal_jit(add)
    on_host(ones(4), ones(4))
    assert len(_LOADED_KERNELS) == 1 and at_most_two() == 2
    unload_kernels()
    assert at_most_two() == 0 and not _LOADED_KERNELS


def test_a_kernel_that_somebody_has_stays_loaded_and_is_returned_again(at_most_two):
    kernels = [load_add(n) for n in (1, 2, 3)]
    assert at_most_two() == 3  # they count, so that others make room
    for n, kernel in zip((1, 2, 3), kernels):
        x = on_device(ones(n))
        made = kernel({"x": x, "y": x})["output0"]
        np.testing.assert_array_equal(made.numpy(), ones(n) * 2)
        assert load_add(n) is kernel
    LOADED.evict()
    del kernel, kernels
    gc.collect()
    assert at_most_two() == 0 and not _LOADED_KERNELS


def test_kernels_are_calls_of_the_one_cache():
    before = CALLS.limit
    try:
        CALLS.limit = 2  # of one kernel: what its call came to, and its program
        first, second = load_add(1), load_add(2)
        assert len(CALLS) == 2 and _LOADED_KERNELS.values() == [second]
        assert load_add(2) is second and load_add(1) is not first
    finally:
        CALLS.limit = before


def test_kernels_are_kept_and_found_by_many_threads():
    cache = CallCache(2)
    kept, errors = LoadedKernels(cache), []
    interval = sys.getswitchinterval()

    def work(seed):
        choose = random.Random(seed)
        try:
            for _ in range(3000):
                key = str(choose.randrange(4))
                found = kept.find(key)
                if found is None:
                    kept[key] = Model(key)
                elif found.key != key:
                    errors.append((found.key, key))
                else:
                    kept.let_go(found)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    try:
        sys.setswitchinterval(1e-6)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not errors and len(cache) <= 2


class Model:
    """What is kept, without a device."""

    def __init__(self, key):
        self.key = key


def test_a_directory_of_the_user(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for cached in (True, False):
        kernel = DeviceKernel.compile_and_load(
            add, ones(2), ones(2), build_dir=tmp_path, use_cached_if_exists=cached
        )
        assert str(kernel.neff_path).startswith(str(tmp_path / "add_"))
    assert (tmp_path / "mine.txt").read_text() == "mine"
    loaded = DeviceKernel.load_from_neff(kernel.neff_path, name="again")
    x = on_device(ones(2))
    np.testing.assert_array_equal(loaded({"x": x, "y": x})["output0"].numpy(), [2, 2])


def test_what_cannot_be_compiled():
    with pytest.raises(NotImplementedError, match="must be a function"):
        DeviceKernel.compile_and_load("add", ones(2))
    with pytest.raises(NKIPyValueError, match="no result with elements"):
        DeviceKernel.compile_and_load(add, ones(0), ones(0))


# ----------------------------------------------------------------------- several ranks


class FakeJob:
    """As much of torch.distributed as compile_and_load uses, in one process."""

    def __init__(self, rank, sent=None):
        self.rank = rank
        self.sent = sent
        self.barriers = 0

    def get_rank(self):
        return self.rank

    def get_world_size(self):
        return 2

    def broadcast_object_list(self, message, src):
        assert src == 0
        if self.rank == 0:
            self.sent = list(message)
        else:
            message[:] = self.sent

    def barrier(self):
        self.barriers += 1


@pytest.fixture
def job(monkeypatch):
    """Makes this process one rank of a job; says how kernels are loaded."""
    loads = []

    def load_from_neff(path, **how):
        loads.append(how)
        return object()

    monkeypatch.setattr(DeviceKernel, "load_from_neff", load_from_neff)

    def become(rank, sent=None):
        fake = FakeJob(rank, sent)
        monkeypatch.setattr(module, "dist", fake)
        monkeypatch.setattr(module, "_is_distributed", lambda: True)
        return fake

    become.loads = loads
    yield become
    _LOADED_KERNELS.clear()


def test_rank_0_compiles_for_all(job, traces):
    first = job(0)
    DeviceKernel.compile_and_load(add, ones(2), ones(2))
    assert len(traces) == 1 and first.barriers == 1
    neff, key = first.sent
    assert neff.endswith(".neff") and key.startswith("add_")
    second = job(1, sent=first.sent)
    DeviceKernel.compile_and_load(add, ones(2), ones(2))
    assert len(traces) == 1 and second.barriers == 1
    expected = {"name": "add", "cc_enabled": True, "world_size": 2}
    assert job.loads == [expected | {"rank_id": 0}, expected | {"rank_id": 1}]


def test_a_failure_of_rank_0_reaches_all(job):
    def bad(x):
        raise ValueError("cannot be traced")

    first = job(0)
    with pytest.raises(ValueError, match="cannot be traced"):
        DeviceKernel.compile_and_load(bad, ones(2))
    job(1, sent=first.sent)
    with pytest.raises(RuntimeError, match="rank 0\nValueError: cannot be traced"):
        DeviceKernel.compile_and_load(bad, ones(2))


def test_ranks_may_compile_programs_of_their_own(job, tmp_path, traces):
    for rank in range(2):
        fake = job(rank)
        DeviceKernel.compile_and_load(
            add, ones(2), ones(2), is_spmd=False, build_dir=tmp_path
        )
        assert fake.barriers == 0 and fake.sent is None  # it waits for nobody
    assert len(traces) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rank_0", "rank_1"]


def test_collectives_are_off_on_request_and_need_ranks(job, monkeypatch):
    job(1, sent=["/x.neff", "add_0"])
    DeviceKernel.compile_and_load(add, ones(2), ones(2), cc_enabled=False)
    assert job.loads == [{"name": "add"}]
    monkeypatch.setattr(module, "_is_distributed", lambda: False)
    with pytest.raises(ValueError, match="rank_id and world_size are required"):
        DeviceKernel.compile_and_load(add, ones(2), ones(2), cc_enabled=True, rank_id=0)


def test_without_torch_there_is_no_job():
    assert module._is_distributed() is False


# -- classes of device arrays ----------------------------------------------------------
class Caring:
    """Two floats on the device, of a class that is told what is written."""

    shape, dtype = (2,), np.dtype(F32)

    def __init__(self, value=0):
        self.memory = on_device(ones(2) * value)
        self.written = 0

    def __spike_array__(self):
        return self.memory.__spike_array__()

    def __spike_written__(self):
        self.written += 1

    def __spike_empty__(self, shape, dtype):
        assert (shape, dtype) == ((2,), np.dtype(F32))
        return Caring(7)


def accumulate(total, x):
    total += x
    return x * 3


def test_results_beside_arrays_of_a_class_that_makes_its_own():
    kernel = DeviceKernel.compile_and_load(accumulate, ones(2), ones(2))
    total, x = Caring(), on_device(ones(2))
    for n in (1, 2):
        made = kernel({"total": total, "x": x})
        assert made["total"] is total and total.written == n
        assert type(made["output0"]) is Caring
        np.testing.assert_array_equal(made["output0"].memory.numpy(), [3, 3])
        np.testing.assert_array_equal(total.memory.numpy(), [n, n])
    made, written = kernel.allocate_output_tensors({"total": total, "x": x})
    assert written is total and made.memory.numpy().tolist() == [0, 0]
    for each in kernel.allocate_output_tensors({"x": Caring(1)}):
        assert type(each) is Caring and each.memory.numpy().tolist() == [0, 0]
    kernel.benchmark({"total": total, "x": x}, mode="host")
    assert total.written == 3


def test_given_results_of_such_a_class_are_told_of_writes():
    kernel = DeviceKernel.compile_and_load(lambda x: (x + 1, x + 2), ones(2))
    x, made = on_device(ones(2)), [Caring(), Caring()]
    outputs = {"output0": made[0], "output1": made[1]}
    for n in (1, 2, 3):
        assert kernel({"x": x}, outputs) is None
        assert [each.written for each in made] == [2 * n - 1] * 2
        kernel.execute_async({"x": x}, outputs).wait()
        assert [each.written for each in made] == [2 * n] * 2
        assert [each.memory.numpy()[0] for each in made] == [2, 3]


def test_an_execution_keeps_arrays_whose_memory_is_their_classes():
    kernel = DeviceKernel.compile_and_load(add, ones(2), ones(2))
    x, y, made = Caring(1), on_device(ones(2)), on_device(ones(2))
    gone = weakref.ref(x)
    running = kernel.execute_async({"x": x, "y": y}, {"output0": made})
    del x
    gc.collect()
    assert gone() is not None
    running.wait()
    other = Caring(2)
    kernel.execute_async({"x": other, "y": y}, {"output0": made}).wait()
    gc.collect()
    assert gone() is None and made.numpy().tolist() == [3, 3]
