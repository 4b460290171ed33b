"""``baremetal_jit``: what is the device's own affair. The rest is in test_jit.py."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import subprocess

import numpy as np
import pytest

import spike
from nkipy.core import compile as compiling
from nkipy.core.compile import CompilationTarget
from nkipy.core.errors import NKIPyValueError
from nkipy.core.trace import NKIPyKernel
from nkipy.hlo import written
from nkipy.runtime import (
    DeviceKernel,
    DeviceTensor,
    baremetal_jit,
    baremetal_run_traced_kernel,
    is_neuron_compatible,
    max_loaded_kernels,
    set_max_loaded_kernels,
    unload_kernels,
)
from spike import NrtError
from spike.device_array import SpikeArray
from tests.support.faults import injected

pytestmark = pytest.mark.device
F32 = np.float32


def ones(*shape):
    return np.ones(shape, F32)


@pytest.fixture
def compilations(monkeypatch, tmp_path):
    """The names of the kernels that are compiled, with an empty cache."""
    monkeypatch.setenv("NKIPY_CACHE_DIR", str(tmp_path / "cache"))
    made = []
    compile_module = compiling.Compiler.compile

    def compile_and_note(self, ir, *args, **kwargs):
        made.append(ir.name)
        return compile_module(self, ir, *args, **kwargs)

    monkeypatch.setattr(compiling.Compiler, "compile", compile_and_note)
    return made


# ----------------------------------------------------------------------- the decorator


def test_with_and_without_parentheses():
    @baremetal_jit
    def plain(x):
        """Doubles."""
        return x * 2

    @baremetal_jit(additional_compiler_args="", target=CompilationTarget.TRN2)
    def called(x):
        return x * 3

    np.testing.assert_array_equal(plain(ones(2)), [2, 2])
    np.testing.assert_array_equal(called(ones(2)), [3, 3])
    assert plain.__doc__ == "Doubles." and plain.__name__ == "plain"
    assert repr(plain) == "<baremetal kernel 'plain'>"


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="Unknown backend cuda"):
        baremetal_jit(backend="cuda")


def test_there_is_a_device():
    assert is_neuron_compatible() is True


# ------------------------------------------------------------------------- caching


def test_a_warm_call_does_not_trace_compile_or_open_a_file(compilations, monkeypatch):
    traced = []
    note = traced.append  # the list itself would be captured, and changed by each trace

    @baremetal_jit
    def kernel(x):
        note(x.shape)
        return x + 1

    kernel(ones(2))
    assert (traced, compilations) == ([(2,)], ["kernel"])

    def refuse(*args, **kwargs):
        raise AssertionError("a warm call opened a file")

    with monkeypatch.context() as context:
        context.setattr("builtins.open", refuse)
        context.setattr("os.open", refuse)
        context.setattr("os.stat", refuse)
        context.setattr(subprocess, "Popen", refuse)
        got = kernel(ones(2) * 5)
    np.testing.assert_array_equal(got, [6, 6])
    assert (traced, compilations) == ([(2,)], ["kernel"])


def test_the_same_program_is_compiled_once(compilations):
    baremetal_jit(lambda x: x + 1)(ones(2))
    baremetal_jit(lambda y: y + 1)(ones(2))  # another parameter name
    assert len(compilations) == 2
    baremetal_jit(lambda x: x + 1)(ones(2))
    assert len(compilations) == 2
    baremetal_jit(lambda x: x + 1)(ones(3))
    baremetal_jit(additional_compiler_args="--auto-cast=none")(lambda x: x + 1)(ones(3))
    baremetal_jit(target=CompilationTarget.TRN3)(lambda x: x + 2)
    assert len(compilations) == 4


def test_another_compiler_is_another_artifact(compilations, monkeypatch):
    baremetal_jit(lambda x: x + 1)(ones(2))
    monkeypatch.setattr("nkipy.compiler.build.compiler_identity", lambda: "newer 2.0")
    baremetal_jit(lambda x: x + 1)(ones(2))
    assert len(compilations) == 2


def test_the_log_says_why_a_call_compiled(caplog):
    kernel = baremetal_jit(lambda x: x + 1)
    with caplog.at_level(logging.INFO, "nkipy.baremetal"):
        kernel(ones(2))
        kernel(ones(3))
    texts = [r.message for r in caplog.records if "tracing" in r.message]
    assert "first call" in texts[0]
    assert "(2,)" in texts[1] and "(3,)" in texts[1]


def test_a_damaged_artifact_is_compiled_again(compilations, tmp_path):
    baremetal_jit(lambda x: x + 1)(ones(2))
    (neff,) = (tmp_path / "cache").rglob("*.neff")
    neff.write_bytes(neff.read_bytes()[:1500])
    np.testing.assert_array_equal(baremetal_jit(lambda x: x + 1)(ones(2)), [2, 2])
    assert len(compilations) == 2


@pytest.mark.parametrize("kind", ["core", "load", "lnc"])
def test_a_sound_artifact_is_not_compiled_again(compilations, kind):
    """Whatever else the runtime objects to: a compilation may take an hour."""
    options = {
        "core": {"core_id": 99},
        "lnc": {"additional_compiler_args": "--lnc 2"},
    }
    with injected("nrt_load=2" if kind == "load" else ""):
        with pytest.raises(NrtError) as caught:
            baremetal_jit(**options.get(kind, {}))(lambda x: x - 3)(ones(2))
    assert caught.value.status == 2
    assert len(compilations) == 1


def test_an_artifact_that_is_gone_is_compiled_again(compilations, tmp_path):
    kernel = baremetal_jit(lambda x: x + 1)
    kernel(ones(2))
    (neff,) = (tmp_path / "cache").rglob("*.neff")
    neff.unlink()
    np.testing.assert_array_equal(kernel(ones(2)), [2, 2])
    kernel.unload()
    np.testing.assert_array_equal(kernel(ones(2)), [2, 2])
    assert len(compilations) == 2


def test_a_directory_of_the_user_keeps_what_is_in_it(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    kernel = NKIPyKernel.trace(lambda x: x + 1)
    for _ in range(2):
        got = baremetal_run_traced_kernel(
            kernel, ones(2), artifacts_dir=tmp_path, save_trace=True
        )
        np.testing.assert_array_equal(got, [2, 2])
    assert (tmp_path / "mine.txt").read_text() == "mine"
    (neff,) = tmp_path.rglob("*.neff")
    assert neff.stem == "lambda" and neff.parent.parent == tmp_path
    assert os.path.getsize(tmp_path / "profile.ntff") > 0


# ---------------------------------------------------------------------- device tensors


def test_device_tensors_are_used_where_they_are(monkeypatch):
    kernel = baremetal_jit(lambda x, y: x @ y)
    x = DeviceTensor.from_numpy(np.arange(6, dtype=F32).reshape(2, 3))
    with monkeypatch.context() as context:
        context.delattr(DeviceTensor, "_read")  # whoever looks inside fails
        got = kernel(x, ones(3, 2))
        np.testing.assert_array_equal(got, [[3, 3], [12, 12]])
    assert isinstance(got, np.ndarray)
    np.testing.assert_array_equal(kernel(x, ones(3, 2) * 2), [[6, 6], [24, 24]])


def test_a_device_tensor_is_changed_in_place():
    @baremetal_jit
    def step(weights, x):
        weights -= 0.5 * x
        return weights, np.sum(weights)

    weights = DeviceTensor.from_numpy(ones(2, 2))
    x = ones(2, 2)
    for expected in (0.5, 0.0):
        got, total = step(weights, x)
        assert got is weights
        np.testing.assert_array_equal(weights.numpy(), np.full((2, 2), expected, F32))
        np.testing.assert_array_equal(total, np.array(4 * expected, F32))


def test_device_tensors_in_trees_of_both_kinds():
    kernel = baremetal_jit(lambda tree: tree["a"] * tree["b"][0])
    tree = {"a": DeviceTensor.from_numpy(ones(2) * 3), "b": [ones(2) * 2]}
    np.testing.assert_array_equal(kernel(tree), [6, 6])
    tree = {"a": ones(2), "b": [DeviceTensor.from_numpy(ones(2) * 4)]}
    np.testing.assert_array_equal(kernel(tree), [4, 4])


def test_freed_and_shared_device_tensors_are_refused():
    @baremetal_jit
    def add(x, y):
        x += y

    x = DeviceTensor.from_numpy(ones(2))
    with pytest.raises(NKIPyValueError, match="'x', which shares memory.*'y'"):
        add(x, x)
    y = DeviceTensor.from_numpy(ones(2))
    spike.get_spike_singleton().free_tensor(y.tensor_ref)
    with pytest.raises(spike.SpikeError, match="freed"):
        add(x, y)
    np.testing.assert_array_equal(x.numpy(), [1, 1])


def test_device_memory_is_not_said_to_be_converted(recwarn):
    wide = spike.SpikeTensor.from_numpy(np.ones(3))
    refused = r"'x' is float64\[3\] on the device, but the kernel takes float32\[3\]"
    with pytest.raises(NKIPyValueError, match=refused):
        baremetal_jit(lambda x: x * 2)(wide)
    assert [str(w.message) for w in recwarn if "converted" in str(w.message)] == []


def test_slices_of_a_device_tensor_may_touch_but_not_overlap():
    @baremetal_jit
    def add(x, y):
        x += y

    rows = DeviceTensor.from_numpy(np.arange(4, dtype=F32))
    with pytest.raises(NKIPyValueError, match="'x', which shares memory.*'y'"):
        add(rows.slice(0, 3), rows.slice(1, 4))
    with pytest.raises(NKIPyValueError, match="'x', which shares memory.*'y'"):
        add(rows.reshape(2, 2), rows.reshape(2, 2))
    add(rows.slice(0, 2), rows.slice(2, 4))
    np.testing.assert_array_equal(rows.numpy(), [2, 4, 2, 3])


class View:
    """Four floats of a device's memory, by the protocol of device arrays."""

    def __init__(self, memory, offset):
        self.memory, self.offset = memory, offset

    shape, dtype = (4,), np.dtype(F32)

    def __spike_array__(self):
        ref = self.memory.tensor_ref
        token = (id(ref), self.offset)
        return SpikeArray(ref, self.offset, (4,), (4,), self.dtype, 0, token)


class Bare:
    """A view that has room for nothing but what it says."""

    __slots__ = ("view",)
    shape, dtype = View.shape, View.dtype

    def __init__(self, memory, offset):
        self.view = View(memory, offset)

    def __spike_array__(self):
        return self.view.__spike_array__()


def test_a_tensor_is_not_taken_for_one_that_an_execution_keeps():
    @baremetal_jit
    def add(x, y):
        return x + y

    def slow(x, w):
        for _ in range(6):
            w = w @ w
        return w * x[0]

    large = DeviceTensor.from_numpy(np.eye(768, dtype=F32))
    made, y = DeviceTensor.zeros((768, 768)), DeviceTensor.zeros(4)
    kernel = DeviceKernel.compile_and_load(slow, ones(4), large)
    x, found = DeviceTensor.from_numpy(ones(4)), 0
    for value in range(2, 40):
        add(x, y)
        known = id(x.tensor_ref)
        running = kernel.execute_async({"x": x, "w": large}, {"output0": made})
        del x
        many = [DeviceTensor.from_numpy(ones(4) * value) for _ in range(100)]
        same = [tensor for tensor in many if id(tensor.tensor_ref) == known]
        x = same[0] if same else many[0]
        del many
        found += bool(same) and not running.done()
        np.testing.assert_array_equal(add(x, y), [value] * 4)
        del same
        running.wait()
        if found == 3:
            break
    assert found


class Caring(View):
    """A view that makes results, and counts what is written into it."""

    def __init__(self, memory, offset):
        super().__init__(memory, offset)
        self.written = 0

    def __spike_written__(self):
        self.written += 1

    def __spike_empty__(self, shape, dtype):
        assert (shape, dtype) == ((4,), np.dtype(F32))
        return Caring(DeviceTensor.zeros(shape, dtype), 0)


class Elsewhere(Caring):
    """One that is on no device, as some of its class are."""

    def __spike_array__(self):
        return None

    def __array__(self, *args, **kwargs):
        raise AssertionError("nobody asked for a copy")


def test_a_class_that_makes_results_and_is_told_of_writes():
    @baremetal_jit
    def step(total, x):
        total += x
        return total * 2

    memory, x = DeviceTensor.from_numpy(np.arange(16, dtype=F32)), ones(4)
    total = Caring(memory, 16)
    for n in (1, 2):
        got = step(total, x)
        assert type(got) is Caring and (got.written, total.written) == (0, n)
        np.testing.assert_array_equal(got.memory.numpy(), (np.arange(4, 8) + n) * 2)
    other = Caring(memory, 0)
    got = step(DeviceTensor.from_numpy(x), other)
    assert type(got) is Caring and other.written == 0
    assert type(step(DeviceTensor.from_numpy(x), x)) is np.ndarray


def test_what_is_elsewhere_is_no_device_array():
    @baremetal_jit
    def twice(x):
        return x * 2

    elsewhere = Elsewhere(None, 0)
    for _ in range(2):
        with pytest.raises(TypeError, match="'x' is a Elsewhere on the host, and kern"):
            twice(elsewhere)
        with pytest.raises(TypeError, match="'x' is a Elsewhere on the host, and kern"):
            DeviceKernel.compile_and_load(twice.func, elsewhere)
        got = twice(Caring(DeviceTensor.from_numpy(ones(4)), 0))
        np.testing.assert_array_equal(got.memory.numpy(), [2] * 4)


@pytest.mark.parametrize("offset", [0, 4, 16, 48])
@pytest.mark.parametrize("kind", [View, Bare])
def test_a_part_of_a_tensor_is_used_where_it_is(kind, offset):
    @baremetal_jit
    def step(total, x):
        total += x
        return total * 2

    memory = DeviceTensor.from_numpy(np.arange(16, dtype=F32))
    expected = np.arange(16, dtype=F32)
    part = expected[offset // 4 :][:4]
    view = kind(memory, offset)
    for n in (1, 2):
        got = step(view, ones(4) * n)
        part += n
        np.testing.assert_array_equal(got, part * 2)
        np.testing.assert_array_equal(memory.numpy(), expected)


def test_a_part_that_has_moved_is_used_where_it_is_then():
    @baremetal_jit
    def double(x):
        return x * 2

    view = View(DeviceTensor.from_numpy(np.arange(16, dtype=F32)), 16)
    np.testing.assert_array_equal(double(view), [8, 10, 12, 14])
    view.offset = 48
    np.testing.assert_array_equal(double(view), [24, 26, 28, 30])
    view.memory = DeviceTensor.from_numpy(ones(16))
    np.testing.assert_array_equal(double(view), [2, 2, 2, 2])


def test_a_device_tensor_that_says_less_than_it_has_is_refused():
    wide = DeviceTensor.empty((4,))
    lying = DeviceTensor(wide.tensor_ref, (2,), np.dtype(F32))
    with pytest.raises(NKIPyValueError, match="'x' has 16 bytes.*takes 8"):
        baremetal_jit(lambda x: x + 1)(lying)


# ------------------------------------------------------------------------- memory


def test_kernels_can_be_unloaded_and_load_again():
    kernel = baremetal_jit(lambda x: x + 1)
    kernel(ones(2))
    (program,) = kernel._programs.values()
    assert program.executable.resident.is_loaded
    kernel.unload()
    assert not program.executable.resident.is_loaded
    np.testing.assert_array_equal(kernel(ones(2)), [2, 2])
    assert program.executable.resident.is_loaded
    assert unload_kernels() >= 1
    assert not program.executable.resident.is_loaded


def test_the_least_recently_used_kernel_gives_way():
    unload_kernels()
    before = max_loaded_kernels()
    kernels = [baremetal_jit(lambda x, n=n: x + n) for n in range(3)]
    try:
        set_max_loaded_kernels(2)
        for n, kernel in enumerate(kernels):
            np.testing.assert_array_equal(kernel(ones(2)), ones(2) + n)
        loaded = [next(iter(k._programs.values())).executable.resident for k in kernels]
        assert [e.is_loaded for e in loaded] == [False, True, True]
        np.testing.assert_array_equal(kernels[0](ones(2)), ones(2))
        assert [e.is_loaded for e in loaded] == [True, False, True]
    finally:
        set_max_loaded_kernels(before)


def test_a_kernel_that_is_gone_occupies_nothing():
    import nkipy.execution.residency as residency

    unload_kernels()
    kernel = baremetal_jit(lambda x: x + 1)
    kernel(ones(2))
    assert len(residency.LOADED) == 1
    del kernel
    gc.collect()
    assert len(residency.LOADED) == 0


@pytest.mark.filterwarnings("ignore:spike.reset")
def test_kernels_survive_a_reset_of_the_runtime():
    kernel = baremetal_jit(lambda x: x + 1)
    kernel(ones(2))
    x = DeviceTensor.from_numpy(ones(2))
    spike.reset()
    np.testing.assert_array_equal(kernel(ones(2)), [2, 2])
    with pytest.raises(spike.SpikeError):
        kernel(x)
    np.testing.assert_array_equal(kernel(DeviceTensor.from_numpy(ones(2))), [2, 2])


# ------------------------------------------------------------------------- failures


class Broken:
    """A call or a tensor of a device that fails."""

    def execute(self):
        raise NrtError("NRT Error NRT_TIMEOUT(5)")

    def read_into(self, buffer):
        self.execute()


class Unreadable(Broken):
    """A tensor that takes what is written and gives nothing back."""

    def __init__(self, tensor):
        self.write = tensor.write


def test_a_failing_execution_leaves_the_arguments_alone(monkeypatch):
    @baremetal_jit
    def kernel(x, y):
        x += y
        y *= 2
        return x * y

    x, y = ones(2), ones(2)
    kernel(x.copy(), y.copy())
    (program,) = kernel._programs.values()
    call = program.executable
    memory = call._memory
    broken = [
        (call, "_call", Broken()),
        (memory, "outputs", [Broken(), None, None]),
        (memory, "inputs", [Unreadable(t) for t in memory.inputs]),
    ]
    for holder, name, value in broken:
        with monkeypatch.context() as context:
            context.setattr(holder, name, value)
            with pytest.raises(NrtError):
                kernel(x, y)
        np.testing.assert_array_equal(x, ones(2))
        np.testing.assert_array_equal(y, ones(2))
    np.testing.assert_array_equal(kernel(x, y), [4, 4])
    np.testing.assert_array_equal(x, [2, 2])


def test_a_core_that_there_is_not():
    with pytest.raises(NrtError):
        baremetal_jit(core_id=99)(lambda x: x + 1)(ones(2))


# --------------------------------------------------------------------- verification


@pytest.fixture
def verified(monkeypatch):
    """The names of the modules that are verified."""
    names = []
    places = ("nkipy.hlo.verifier", "nkipy.hlo.proto_reader", "nkipy.core.trace")
    originals = [importlib.import_module(place).verify_module for place in places]
    for place, verify in zip(places, originals):

        def note(module, verify=verify, **options):
            names.append(module.name)
            return verify(module, **options)

        monkeypatch.setattr(f"{place}.verify_module", note)
    return names


def test_a_first_call_verifies_once(compilations, verified):
    """By the tracer; the compiler and the engine are the same process."""

    def verified_once(x):
        return np.sort(x) * 3 + 1

    np.testing.assert_array_equal(baremetal_jit(verified_once)(ones(4)), ones(4) * 4)
    assert compilations == verified == ["verified_once"]
    # A file of another process, which made the same: it is found, and verified.
    written._noted.clear()
    np.testing.assert_array_equal(baremetal_jit(verified_once)(ones(4)), ones(4) * 4)
    assert compilations == ["verified_once"]
    assert verified == ["verified_once"] * 3


def test_a_kernel_that_keeps_no_module_verifies_once(compilations, verified):
    def loaded_ahead(x):
        return np.sort(x) * 5 + 1

    x = DeviceTensor.from_numpy(ones(4))
    kernel = DeviceKernel.compile_and_load(loaded_ahead, x)
    assert compilations == verified == ["loaded_ahead"]
    np.testing.assert_array_equal(kernel({"x": x})["output0"].numpy(), ones(4) * 6)
