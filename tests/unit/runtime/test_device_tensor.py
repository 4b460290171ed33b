"""Arrays in device memory, from and to NumPy and torch."""

from __future__ import annotations

import sys
import types

import ml_dtypes
import numpy as np
import pytest

import spike
from nkipy.core import dtypes as dt
from nkipy.runtime import DeviceTensor

pytestmark = pytest.mark.device
F32 = np.float32


@pytest.mark.parametrize("dtype", dt.SUPPORTED, ids=str)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,), (2, 0, 3), (1, 1)], ids=str)
def test_round_trip(dtype, shape):
    array = (np.arange(np.prod(shape, dtype=int)) % 2).astype(dtype).reshape(shape)
    tensor = DeviceTensor.from_numpy(array, name="x")
    assert (tensor.shape, tensor.dtype, tensor.name) == (shape, dtype, "x")
    got = tensor.numpy()
    assert got.dtype == dtype and got.shape == shape
    assert got.tobytes() == array.tobytes()


def test_strided_and_fortran_arrays_and_lists():
    base = np.arange(24, dtype=F32).reshape(4, 6)
    for array in (base[::2, 1::3], base.T, np.asfortranarray(base), base[::-1]):
        np.testing.assert_array_equal(DeviceTensor.from_numpy(array).numpy(), array)
    with pytest.warns(UserWarning, match="int64.*int32"):
        tensor = DeviceTensor.from_numpy([1, 2, 3])
    np.testing.assert_array_equal(tensor.numpy(), np.array([1, 2, 3], np.int32))


def test_64_bits_are_narrowed_with_a_warning():
    with pytest.warns(UserWarning, match="float64.*float32") as caught:
        tensor = DeviceTensor.from_numpy(np.ones(2))
    assert len(caught) == 1 and tensor.dtype == F32
    tensor.write_from_numpy(np.full(2, 2.5))
    np.testing.assert_array_equal(tensor.numpy(), np.full(2, 2.5, F32))
    with pytest.raises(TypeError, match="complex64"):
        DeviceTensor.from_numpy(np.ones(2, np.complex64))


@pytest.mark.filterwarnings("ignore:the device does not have")
@pytest.mark.parametrize("value", [2**40, -(2**31) - 1])
def test_integers_out_of_range_are_refused_and_nothing_is_written(torch, value):
    wide = np.array([1, value])
    with pytest.raises(OverflowError, match="range for int32, to which int64"):
        DeviceTensor.from_numpy(wide)
    with pytest.raises(OverflowError, match="range for int32, to which int64"):
        DeviceTensor.from_torch(torch.tensor(wide, torch.int64))
    tensor = DeviceTensor.zeros(2, np.int32)
    with pytest.raises(OverflowError, match="range for int32, to which int64"):
        tensor.write_from_numpy(wide)
    np.testing.assert_array_equal(tensor.numpy(), [0, 0])
    tensor.write_from_numpy(np.array([2**31 - 1, -(2**31)]))
    np.testing.assert_array_equal(tensor.numpy(), [2**31 - 1, -(2**31)])


def test_zeros_and_empty():
    zeros = DeviceTensor.zeros((2, 3), ml_dtypes.bfloat16, name="z")
    assert zeros.dtype == dt.bfloat16 and zeros.name == "z"
    np.testing.assert_array_equal(zeros.numpy(), np.zeros((2, 3), dt.bfloat16))
    assert DeviceTensor.zeros(3).shape == (3,)
    assert DeviceTensor.zeros((), np.int8).numpy() == np.int8(0)
    empty = DeviceTensor.empty([4, np.int64(2)], "float16")
    assert (empty.shape, empty.dtype) == ((4, 2), np.float16)
    assert isinstance(empty, DeviceTensor)
    for bad in (2.5, (2, 2.5), "2"):
        with pytest.raises(TypeError):
            DeviceTensor.empty(bad)
    for negative in (-3, (2, -3), (-2, -3)):
        with pytest.raises(ValueError, match="negative"):
            DeviceTensor.zeros(negative)


def test_written_over_and_over():
    tensor = DeviceTensor.from_numpy(np.zeros((2, 2), F32), name="x")
    for i in range(3):
        array = np.full((2, 2), i, F32)
        tensor.write_from_numpy(array)
        np.testing.assert_array_equal(tensor.numpy(), array)
    tensor.write_from_numpy(np.arange(8, dtype=F32).reshape(2, 4)[:, ::2])
    np.testing.assert_array_equal(tensor.numpy(), [[0, 2], [4, 6]])
    assert (tensor.shape, tensor.dtype, tensor.name) == ((2, 2), np.dtype(F32), "x")


def test_what_does_not_fit_is_refused_and_nothing_is_written():
    tensor = DeviceTensor.from_numpy(np.ones(4, F32))
    with pytest.raises(
        ValueError, match="Size mismatch: source 20 bytes, target 16 bytes"
    ):
        tensor.write_from_numpy(np.zeros(5, F32))
    with pytest.raises(TypeError, match="source int32, target float32"):
        tensor.write_from_numpy(np.zeros(4, np.int32))
    np.testing.assert_array_equal(tensor.numpy(), np.ones(4, F32))


def test_a_core_that_there_is_not():
    with pytest.raises(spike.NrtError):
        DeviceTensor.zeros(3, core_id=99)


# ------------------------------------------------------------------------------- torch


class FakeTorchTensor:
    """As much of torch.Tensor as moving one takes, on NumPy."""

    def __init__(self, array, name):
        self.array = array
        self.dtype = name
        self.shape = array.shape

    def detach(self):
        return self

    cpu = detach

    def contiguous(self):
        return FakeTorchTensor(np.ascontiguousarray(self.array), self.dtype).reshape(
            *self.shape
        )

    def reshape(self, *shape):
        return FakeTorchTensor(self.array.reshape(shape), self.dtype)

    def view(self, dtype):
        return FakeTorchTensor(self.array.view(TORCH_DTYPES[dtype]), dtype)

    def to(self, dtype):
        return FakeTorchTensor(self.array.astype(TORCH_DTYPES[dtype]), dtype)

    def numpy(self):
        if self.dtype in ("torch.bfloat16", "torch.float8_e5m2"):
            raise TypeError(f"Got unsupported ScalarType {self.dtype}")  # as torch does
        return self.array


TORCH_DTYPES = {
    f"torch.{dtype.name}": dtype
    for dtype in (*dt.SUPPORTED, dt.float64, dt.int64)
    if dtype != dt.float8_e4m3
}


@pytest.fixture
def torch(monkeypatch):
    fake = types.ModuleType("torch")
    for name in TORCH_DTYPES:
        setattr(fake, name.removeprefix("torch."), name)

    def empty(shape, dtype, device="cpu"):
        return FakeTorchTensor(np.empty(shape, TORCH_DTYPES[dtype]), dtype)

    fake.empty = empty
    fake.tensor = lambda array, dtype: FakeTorchTensor(
        np.asarray(array).astype(TORCH_DTYPES[dtype]), dtype
    )
    monkeypatch.setitem(sys.modules, "torch", fake)
    return fake


@pytest.mark.parametrize("name", sorted(TORCH_DTYPES))
@pytest.mark.filterwarnings("ignore:the device does not have")
def test_torch_tensors_go_there_and_back(torch, name):
    for array in ([[0, 1], [1, 1]], 1, np.empty((2, 0))):
        tensor = DeviceTensor.from_torch(torch.tensor(array, name), name="t")
        narrow = dt.narrow(TORCH_DTYPES[name])
        assert tensor.dtype == narrow and tensor.shape == np.shape(array)
        expected = np.asarray(array).astype(narrow)
        assert tensor.numpy().tobytes() == expected.tobytes()
        back = tensor.torch()
        assert back.dtype == f"torch.{narrow.name}"
        assert back.array.tobytes() == expected.tobytes()
        assert back.shape == np.shape(array)


def test_torch_tensors_overwrite(torch):
    tensor = DeviceTensor.from_numpy(np.zeros((2, 2), F32))
    tensor.write_from_torch(torch.tensor([[1, 2], [3, 4]], torch.float32))
    np.testing.assert_array_equal(tensor.numpy(), [[1, 2], [3, 4]])
    with pytest.raises(ValueError, match="Size mismatch: source 4 bytes"):
        tensor.write_from_torch(torch.tensor([1], torch.float32))
    with pytest.raises(TypeError, match="source int32"):
        tensor.write_from_torch(torch.tensor(np.ones((2, 2)), torch.int32))


def test_a_dtype_that_torch_lacks(torch):
    tensor = DeviceTensor.zeros(2, dt.float8_e4m3)
    with pytest.raises(TypeError, match="torch has no dtype float8_e4m3"):
        tensor.torch()


def test_without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    tensor = DeviceTensor.zeros(2)
    for use in (tensor.torch, lambda: DeviceTensor.from_torch(np.ones(2))):
        with pytest.raises(ImportError, match="torch is not available"):
            use()
