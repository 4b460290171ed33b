"""Memory on a device, and what Python does with it."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from spike import NrtError, SpikeError, SpikeTensor
from spike._spike import Spike

HUGE = 2**64 - 1


@pytest.fixture
def runtime(fake) -> Spike:
    return Spike()


@pytest.mark.parametrize(("offset", "size"), [(0, 9), (8, 1), (9, 1), (HUGE, 2)])
def test_ranges_out_of_bounds(fake, runtime, offset, size):
    """The last pair's sum overflows to one that is in bounds."""
    tensor = runtime.allocate_tensor(8)
    text = rf"exceeds the tensor bound. Tensor size: 8 bytes; .*Offset: {offset} bytes"
    other = runtime.allocate_tensor(64)
    for use in (
        lambda: runtime.tensor_write(tensor, b"x" * size, offset),
        lambda: runtime.tensor_read(tensor, offset, size),
        lambda: runtime.tensor_read_to_pybuffer(tensor, bytearray(99), offset, size),
        lambda: runtime.slice_from_tensor(tensor, offset, size),
        lambda: tensor.fill(0, offset, size),
        lambda: tensor.copy_from(other, 0, offset, size),
        lambda: other.copy_from(tensor, offset, 0, size),
    ):
        with pytest.raises(SpikeError, match=text):
            use()
    with pytest.raises(SpikeError, match="exceeds the tensor bound"):
        runtime.tensor_read(tensor, 9)
    with pytest.raises(SpikeError, match="exceeds the tensor bound"):
        runtime.tensor_read(tensor, 1, HUGE)
    assert not {"nrt_tensor_read", "nrt_tensor_write"} & set(fake.calls())


def test_reads_and_writes(runtime):
    tensor = runtime.allocate_tensor(8, name="t")
    runtime.tensor_write(tensor, b"abcdefgh")
    runtime.tensor_write_from_pybuffer(tensor, np.array([33], np.uint8), 2)
    assert runtime.tensor_read(tensor) == b"ab!defgh"
    assert runtime.tensor_read(tensor, 6) == b"gh"
    assert runtime.tensor_read(tensor, 1, 3) == b"b!d"
    assert runtime.tensor_read(tensor, 8) == b""
    buffer = bytearray(b"0123456789")
    runtime.tensor_read_to_pybuffer(tensor, buffer, 4)
    assert buffer == b"efgh456789"
    assert (tensor.size, tensor.core_id, tensor.name) == (8, 0, "t")
    assert repr(tensor) == "NrtTensor(name='t', size=8, core_id=0, is_freed=False)"


def test_what_is_no_buffer(runtime):
    tensor = runtime.allocate_tensor(64)
    matrix = np.zeros((4, 4), np.float32)
    text = "Object does not support buffer protocol: "
    for wrong, cause in ((3, TypeError), (matrix[:, ::2], ValueError)):
        with pytest.raises(SpikeError, match=text) as raised:
            runtime.tensor_write_from_pybuffer(tensor, wrong)
        assert isinstance(raised.value.__cause__, (cause, BufferError))
    with pytest.raises(SpikeError, match="does not support writable buffer protocol"):
        runtime.tensor_read_to_pybuffer(tensor, b"constant")
    with pytest.raises(SpikeError, match="Buffer too small for tensor data: it has 4 "):
        runtime.tensor_read_to_pybuffer(tensor, bytearray(4))
    with pytest.raises(TypeError):
        runtime.tensor_read("tensor")
    with pytest.raises(TypeError):
        runtime.tensor_read(tensor, -1)


def test_slices_share_memory_and_outlive_their_source(fake, runtime):
    tensor = runtime.allocate_tensor(8)
    half = runtime.slice_from_tensor(tensor, 4)
    part = runtime.slice_from_tensor(half, 1, 2, name="part")
    runtime.tensor_write(tensor, b"01234567")
    runtime.free_tensor(tensor)
    runtime.free_tensor(tensor)
    assert tensor.is_freed and tensor.va == 0 and not half.is_freed
    assert (runtime.tensor_read(half), runtime.tensor_read(part)) == (b"4567", b"56")
    assert (half.size, part.size, part.name) == (4, 2, "part")
    for use, text in (
        (lambda: tensor.write(b""), "Unable to write to a freed tensor"),
        (lambda: tensor.read_into(bytearray(8)), "Unable to read from a freed tensor"),
        (tensor.slice, "Unable to allocate tensor slice from a source tensor that is"),
        (lambda: half.copy_from(tensor), "Unable to read from a freed tensor"),
    ):
        with pytest.raises(SpikeError, match=text):
            use()
    assert fake.calls().count("nrt_tensor_free") == 1


def test_nothing_to_allocate(runtime):
    with pytest.raises(NrtError, match="Failed to allocate tensor") as raised:
        runtime.allocate_tensor(0)
    assert raised.value.status_name == "NRT_INVALID"


DTYPES = [
    *(np.dtype(c) for c in "?bBhHiIlLqQefdFD"),
    *(np.dtype(getattr(ml_dtypes, n)) for n in ("bfloat16", "float8_e4m3")),
    *(np.dtype(getattr(ml_dtypes, n)) for n in ("float8_e5m2", "float8_e4m3fn")),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (3, 5)])
def test_arrays_come_back(fake, dtype, shape):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    tensor = SpikeTensor.from_numpy(array, "name")
    back = tensor.numpy()
    assert (back.dtype, back.shape) == (dtype, shape)
    assert back.tobytes() == array.tobytes()
    assert (tensor.shape, tensor.dtype, tensor.name) == (shape, dtype, "name")
    assert tensor.nbytes == tensor.tensor_ref.size == array.nbytes


def test_arrays_that_are_not_contiguous(fake):
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    for source in (array.T, array[:, ::2], np.asfortranarray(array), array[::-1]):
        np.testing.assert_array_equal(SpikeTensor.from_numpy(source).numpy(), source)
    assert SpikeTensor.from_numpy([[1, 2], [3, 4]]).numpy().tolist() == [[1, 2], [3, 4]]
    for wrong in (np.array([None]), np.arange(3, dtype=">i4")):
        with pytest.raises(TypeError, match="cannot be on a device"):
            SpikeTensor.from_numpy(wrong)


def test_attributes(fake):
    tensor = SpikeTensor.empty(4, np.float32, core_id=1)
    assert (tensor.shape, tensor.dtype, tensor.core_id) == ((4,), np.float32, 1)
    assert tensor.dtype is np.float32
    for name in ("shape", "dtype", "tensor_ref"):
        with pytest.raises(AttributeError):
            setattr(tensor, name, None)

    class Special(SpikeTensor):
        pass

    special = Special.zeros((2,), "int8", "s")
    assert type(special.reshape(1, 2)) is Special
    assert repr(special) == "Special(shape=(2,), dtype=int8, name=s)"


def test_write_from_numpy(fake):
    tensor = SpikeTensor.zeros((2, 3), np.float32)
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensor.write_from_numpy(array)
    np.testing.assert_array_equal(tensor.numpy(), array)
    with pytest.raises(ValueError, match="Size mismatch: source 20 bytes, target 24"):
        tensor.write_from_numpy(array.ravel()[:5])
    out = np.full((2, 3), -1, np.float32)
    assert tensor.numpy(out) is out
    np.testing.assert_array_equal(out, array)
    with pytest.raises(ValueError, match=r"out: expected \(2, 3\) float32, got"):
        tensor.numpy(np.zeros(6, np.float32))


@pytest.mark.parametrize(
    ("dtype", "value"), [("float32", 1.5), ("int16", 257), ("int8", -1), ("bool", True)]
)
@pytest.mark.parametrize("count", [1, 7, 400_000])
def test_fill_is_done_on_the_device(fake, dtype, value, count):
    tensor = SpikeTensor.empty((count,), dtype)
    fake.reset()
    tensor.fill(value)
    assert fake.calls().count("nrt_tensor_write") <= 1
    np.testing.assert_array_equal(tensor.numpy(), np.full(count, value, dtype))


def test_zeros_upload_nothing(fake):
    tensor = SpikeTensor.zeros((3,), np.float32)
    assert fake.calls()[-1] == "nrt_tensor_memset"
    assert tensor.numpy().tolist() == [0, 0, 0]


def test_copy_from(fake):
    source = SpikeTensor.from_numpy(np.arange(4, dtype=np.int32))
    same, other = (SpikeTensor.zeros((4,), np.int32, core_id=i) for i in (0, 1))
    fake.reset()
    same.copy_from(source)
    assert fake.calls() == ["nrt_tensor_copy"]
    other.copy_from(source)
    assert same.numpy().tolist() == other.numpy().tolist() == [0, 1, 2, 3]
    same.copy_from(np.array([9, 8, 7, 6], np.int32))
    assert same.numpy().tolist() == [9, 8, 7, 6]
    with pytest.raises(ValueError, match="Size mismatch: source 16 bytes, target 8"):
        SpikeTensor.zeros((2,), np.int32).copy_from(source)


def test_slice_reshape_view(fake):
    array = np.arange(12, dtype=np.float32).reshape(4, 3)
    tensor = SpikeTensor.from_numpy(array)
    rows = tensor.slice(1, 3)
    np.testing.assert_array_equal(rows.numpy(), array[1:3])
    rows.fill(0)
    array[1:3] = 0
    np.testing.assert_array_equal(tensor.numpy(), array)
    np.testing.assert_array_equal(tensor.slice(-1).numpy(), array[-1:])
    np.testing.assert_array_equal(tensor.reshape(2, -1).numpy(), array.reshape(2, 6))
    np.testing.assert_array_equal(tensor.reshape((12,)).numpy(), array.ravel())
    np.testing.assert_array_equal(tensor.view(np.int16).numpy(), array.view(np.int16))
    for wrong in (
        lambda: tensor.slice(2, 2),
        lambda: tensor.reshape(5, -1),
        lambda: tensor.reshape(-12),
        lambda: tensor.reshape(0, -1),
        lambda: tensor.view(np.float64),
        lambda: SpikeTensor.zeros((), np.int8).slice(),
        lambda: SpikeTensor.zeros((), np.int8).view(np.bool_),
    ):
        with pytest.raises(ValueError):
            wrong()


def test_array_protocols_are_honest_about_copies(fake):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensor = SpikeTensor.from_numpy(array)
    np.testing.assert_array_equal(np.asarray(tensor), array)
    assert np.asarray(tensor, dtype=np.int8).dtype == np.int8
    with pytest.raises(ValueError, match="can only have a copy"):
        np.asarray(tensor, copy=False)
    np.testing.assert_array_equal(np.from_dlpack(tensor), array)
    with pytest.raises(BufferError, match="can only have a copy"):
        np.from_dlpack(tensor, copy=False)
    back = SpikeTensor.from_dlpack(array)
    assert back.numpy().tolist() == array.tolist()


def test_close(fake):
    with SpikeTensor.zeros((2,), np.int8) as tensor:
        other = tensor.reshape(2, 1)
        assert not tensor.is_freed
    assert tensor.is_freed and other.is_freed
    tensor.close()
    with pytest.raises(SpikeError, match="Unable to read from a freed tensor"):
        other.numpy()
