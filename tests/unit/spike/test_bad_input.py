"""What a user can get wrong: the documented exception, which says what was expected
and what was received, and a runtime that works on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import spike
from spike import NrtError, SpikeError, SpikeModel, SpikeTensor

pytestmark = pytest.mark.usefixtures("emulator")

X = np.arange(6, dtype=np.float32).reshape(2, 3)
HUGE = 2**64 - 1


class Bench:
    """A model that works, its tensors, and somewhere to put files."""

    def __init__(self, neff: Path) -> None:
        self.neff = neff
        self.model = SpikeModel.load_from_neff(neff)
        self.x, self.y = (SpikeTensor.from_numpy(X, n) for n in "xy")
        self.runtime = spike.get_spike_singleton()

    def check(self) -> None:
        """The runtime that there was still works."""
        self.model({"x": self.x}, {"y": self.y})
        np.testing.assert_array_equal(self.y.numpy(), -X)

    def file(self, content: bytes) -> Path:
        path = self.neff.with_name("bad.neff")
        path.write_bytes(content)
        return path

    def cut(self, size: int) -> SpikeModel:
        """Load the first bytes of the NEFF."""
        return SpikeModel.load_from_neff(self.file(self.neff.read_bytes()[:size]))

    def flip(self, position: int) -> SpikeModel:
        """Load the NEFF with a byte changed."""
        content = bytearray(self.neff.read_bytes())
        content[position] ^= 0xFF
        return SpikeModel.load_from_neff(self.file(bytes(content)))

    def call(self, **tensors: Any) -> None:
        self.model({"x": tensors.pop("x", self.x)}, {"y": self.y, **tensors})

    def like(self, shape: tuple[int, ...] = X.shape, dtype: Any = X.dtype) -> Any:
        return SpikeTensor.zeros(shape, dtype)


@pytest.fixture
def bench(neff: Callable[..., Path]) -> Bench:
    return Bench(neff(lambda b, x: b.negate(x), X, names=["x"], results=["y"]))


def check_error(
    bench: Bench, use: Callable[[Bench], object], error: type[Exception], text: str
) -> None:
    bench.check()
    with pytest.raises(error) as raised:
        use(bench)
    assert text in str(raised.value)
    bench.check()


FILES = {
    "missing": (
        lambda b: SpikeModel.load_from_neff("no.neff"),
        SpikeError,
        "Failed to open NEFF file: no.neff. Please check if the file exists and have "
        "read permission. (No such file or directory)",
    ),
    "directory": (
        lambda b: SpikeModel.load_from_neff(b.neff.parent),
        SpikeError,
        "it is not a regular file",
    ),
    "device": (
        lambda b: SpikeModel.load_from_neff("/dev/zero"),
        SpikeError,
        "Failed to read NEFF file: /dev/zero: it is not a regular file",
    ),
    "empty": (lambda b: b.cut(0), NrtError, "header of 1024 bytes; found 0"),
    "cut header": (lambda b: b.cut(1000), NrtError, "of 1024 bytes; found 1000"),
    "cut payload": (lambda b: b.cut(-7), NrtError, "follow it: truncated, or not"),
    "header only": (lambda b: b.cut(1024), NrtError, "0 follow it: truncated, or not"),
    "changed": (lambda b: b.flip(1500), NrtError, "Reading the NEFF: "),
    "other core": (
        lambda b: SpikeModel.load_from_neff(b.neff, core_id=2),
        NrtError,
        "k.neff' on core 2 of 2 visible ones (libnrt's log",
    ),
    "negative core": (
        lambda b: SpikeModel.load_from_neff(b.neff, core_id=-2),
        NrtError,
        "k.neff' on core -2 of 2 visible ones (libnrt's log",
    ),
    "no core": (
        lambda b: SpikeModel.load_from_neff(b.neff, core_id="1"),
        TypeError,
        "core_id: expected an int from -2147483648 to 2147483647, got '1'",
    ),
    "huge core": (
        lambda b: SpikeModel.load_from_neff(b.neff, core_id=1 << 40),
        ValueError,
        "core_id: expected an int from -2147483648 to 2147483647, got 1099511627776",
    ),
    "negative rank": (
        lambda b: SpikeModel.load_from_neff(b.neff, cc_enabled=True, rank_id=-1),
        ValueError,
        "rank_id: expected an int from 0 to 4294967295, got -1",
    ),
}


@pytest.mark.parametrize("lnc", [1, 2])
def test_a_neff_for_cores_of_another_size(bench, neff, lnc, monkeypatch):
    bench.runtime.close()
    monkeypatch.setenv("NEURON_LOGICAL_NC_CONFIG", str(3 - lnc))
    path = neff(lambda b, x: b.negate(x), X, lnc=lnc)
    with pytest.raises(NrtError) as raised:
        SpikeModel.load_from_neff(path)
    assert raised.value.status_name == "NRT_INVALID"
    wanted = f"for trn2, LNC {lnc}; NEURON_LOGICAL_NC_CONFIG is {3 - lnc}"
    assert str(raised.value).endswith(wanted)


@pytest.mark.parametrize("mistake", FILES)
def test_files(bench, mistake):
    check_error(bench, *FILES[mistake])


ARGUMENTS = {
    "unknown input": (
        lambda b: b.model({"x": b.x, "z": b.x}, {"y": b.y}),
        "Unknown input(s) {'z'} for model 'k'. Expected inputs: ['x']",
    ),
    "missing input": (
        lambda b: b.model({}, {"y": b.y}),
        "Missing input(s) {'x'} for model 'k'. Expected inputs: ['x']",
    ),
    "unknown output": (
        lambda b: b.call(q=b.y),
        "Unknown output(s) {'q'} for model 'k'. Expected outputs: ['y']",
    ),
    "missing output": (
        lambda b: b.model({"x": b.x}, {}),
        "Missing output(s) {'y'} for model 'k'. Expected outputs: ['y']",
    ),
    "shape": (
        lambda b: b.call(x=b.like((3, 2))),
        "Input x: expected shape [2, 3], got (3, 2)",
    ),
    "rank": (
        lambda b: b.call(y=b.like((6,))),
        "Output y: expected shape [2, 3], got (6,)",
    ),
    "dtype": (
        lambda b: b.call(x=b.like(dtype=np.int32)),
        "Input x: expected dtype float32, got int32",
    ),
    "short dtype": (
        lambda b: b.call(x=b.like(dtype=ml_dtypes.bfloat16)),
        "Input x: expected dtype float32, got bfloat16",
    ),
    "core": (
        lambda b: b.call(x=SpikeTensor.zeros(X.shape, X.dtype, core_id=1)),
        "Input x: expected model and tensor on the same core, got model core_id 0 and "
        "tensor core_id 1",
    ),
    "sizes": (
        lambda b: b.x.write_from_numpy(X[0]),
        "Size mismatch: source 12 bytes, target 24 bytes",
    ),
    "copy of another size": (
        lambda b: b.x.copy_from(b.like((5,))),
        "Size mismatch: source 20 bytes, target 24 bytes",
    ),
    "no iterations": (
        lambda b: b.model.benchmark({"x": b.x}, benchmark_iter=0),
        "benchmark_iter must be at least 1",
    ),
}


@pytest.mark.parametrize("mistake", ARGUMENTS)
def test_arguments(bench, mistake):
    use, text = ARGUMENTS[mistake]
    check_error(bench, use, ValueError, text)


TYPES = {
    "array": (lambda b: b.call(x=X), "Input x: expected a SpikeTensor, got ndarray"),
    "output": (lambda b: b.call(y=X), "Output y: expected a SpikeTensor, got ndarray"),
    "number": (
        lambda b: b.model.benchmark({"x": 3}),
        "Input x: expected a SpikeTensor, got int",
    ),
    "by position": (
        lambda b: b.model(b.x, b.y),
        "Inputs: expected a dict of SpikeTensor by name, got SpikeTensor",
    ),
    "output by position": (
        lambda b: b.model({"x": b.x}, b.y),
        "Outputs: expected a dict of SpikeTensor by name, got SpikeTensor",
    ),
    "async": (
        lambda b: b.model.execute_async([b.x], {"y": b.y}),
        "Inputs: expected a dict of SpikeTensor by name, got list",
    ),
    "core": (
        lambda b: SpikeTensor.zeros(3, "int8", core_id="1"),
        "core_id: expected an int from -2147483648 to 2147483647, got '1'",
    ),
}


@pytest.mark.parametrize("mistake", TYPES)
def test_types(bench, mistake):
    use, text = TYPES[mistake]
    check_error(bench, use, TypeError, text)


def test_shapes_that_are_none(bench):
    for shape, text in (
        ((1 << 40, 1 << 40), f"from 0 to {HUGE}, got {1 << 82}"),
        ((-3, -3), "a shape has no negative dimension, got (-3, -3)"),
    ):
        check_error(
            bench, lambda b, s=shape: SpikeTensor.empty(s, "f4"), ValueError, text
        )


@pytest.mark.parametrize(
    ("offset", "size"), [(25, 0), (24, 1), (0, 25), (23, 2), (HUGE, 2), (1, HUGE)]
)
def test_ranges(bench, offset, size):
    """The sums of the last two overflow to ones that are in bounds."""
    ref, other = bench.x.tensor_ref, bench.like((9,)).tensor_ref
    text = f"Tensor size: 24 bytes; {{}} size: {{}} bytes; Offset: {offset} bytes"
    buffer = bytearray(99)
    for what, use in (
        ("Read", lambda b: b.runtime.tensor_read(ref, offset, size)),
        (
            "Read",
            lambda b: b.runtime.tensor_read_to_pybuffer(ref, buffer, offset, size),
        ),
        ("Slice", lambda b: b.runtime.slice_from_tensor(ref, offset, size)),
        ("Fill", lambda b: ref.fill(0, offset, size)),
        ("Copy", lambda b: other.copy_from(ref, offset, 0, size)),
    ):
        check_error(bench, use, SpikeError, text.format(what, size))
    if size < 99:
        data = b"x" * max(1, size)
        wrong = text.format("Input", len(data))
        check_error(
            bench,
            lambda b: b.runtime.tensor_write(ref, data, offset),
            SpikeError,
            wrong,
        )
    np.testing.assert_array_equal(bench.x.numpy(), X)


@pytest.mark.parametrize("offset", [-1, 2**64, 1.5, "0"])
def test_offsets_that_are_none(bench, offset):
    with pytest.raises(TypeError):
        bench.runtime.tensor_read(bench.x.tensor_ref, offset)
    bench.check()


def test_freed_tensors(bench):
    freed = SpikeTensor.zeros(X.shape, X.dtype, "gone")
    freed.close()
    for use, text in (
        (lambda b: freed.numpy(), "Unable to read from a freed tensor: 'gone'"),
        (lambda b: freed.fill(1), "Unable to write to a freed tensor: 'gone'"),
        (lambda b: freed.write_from_numpy(X), "Unable to write to a freed tensor"),
        (lambda b: freed.slice(1), "Unable to allocate tensor slice from a source"),
        (lambda b: b.x.copy_from(freed), "Unable to read from a freed tensor"),
        (lambda b: b.call(x=freed), "Tensor 'x' is freed. Unable to add it into the"),
        (lambda b: b.call(y=freed), "Tensor 'y' is freed. Unable to add it into the"),
    ):
        check_error(bench, use, SpikeError, text)


def test_unloaded_models(bench):
    unloaded = SpikeModel.load_from_neff(bench.neff)
    unloaded({"x": bench.x}, {"y": bench.y})
    unloaded.close()
    text = f"Unable to execute an unloaded model: '{bench.neff}'"
    for use in (
        lambda b: unloaded({"x": b.x}, {"y": b.y}),
        lambda b: unloaded({"x": b.x}),
        lambda b: unloaded.execute_async({"x": b.x}, {"y": b.y}),
        lambda b: unloaded.benchmark({"x": b.x}),
    ):
        check_error(bench, use, SpikeError, text)
    use = lambda b: b.runtime.get_tensor_info(unloaded.model_ref)  # noqa: E731
    check_error(bench, use, SpikeError, "Unable to get model tensor info from an un")


def test_a_closed_runtime(bench):
    closed = bench.runtime
    closed.close()
    for use in (
        lambda: closed.allocate_tensor(8),
        lambda: closed.load_model(str(bench.neff)),
        lambda: closed.memory_stats(),
        bench.x.numpy,
        bench.call,
    ):
        with pytest.raises(SpikeError, match="the runtime is closed"):
            use()
    Bench(bench.neff).check()


def test_no_memory(bench, monkeypatch):
    bench.runtime.close()
    monkeypatch.setenv("NKIPY_EMULATOR_HBM_BYTES", str(1 << 20))
    bench = Bench(bench.neff)
    for size in (1 << 20, 1 << 40):
        check_error(
            bench,
            lambda b, size=size: SpikeTensor.empty((size,), np.uint8),
            NrtError,
            f"NRT_RESOURCE(4): Failed to allocate tensor: {size} bytes on core 0 of 2 "
            f"visible ones, which uses {bench.runtime.memory_stats()[0]} of its "
            f"{1 << 20} bytes (libnrt's log",
        )
    used, _ = bench.runtime.memory_stats()
    SpikeTensor.zeros(((1 << 20) - used,), np.uint8)


def test_tensors_of_nothing(bench):
    check_error(
        bench,
        lambda b: SpikeTensor.zeros((0, 3), X.dtype),
        NrtError,
        "NRT_INVALID(2): Failed to allocate tensor",
    )
