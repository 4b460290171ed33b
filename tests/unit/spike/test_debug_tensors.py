"""Tensors of the debug stream: read from events, shown, and kept as files."""

from __future__ import annotations

import struct

import ml_dtypes
import numpy as np
import pytest

from spike.debug_tensors import DebugTensor


def payload(array: np.ndarray, prefix: str = "x", dtype: str = "", pipe: int = 0):
    shape = (*array.shape, *[0] * (8 - array.ndim))
    name = (dtype or array.dtype.name).encode()
    head = struct.pack(
        "=512sII16s8QQ416x", prefix.encode(), 3, pipe, name, *shape, array.nbytes
    )
    return head + array.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.int8])
@pytest.mark.parametrize("shape", [(2, 3), (1,), ()])
def test_a_tensor_of_an_event(dtype, shape):
    array = np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)
    tensor = DebugTensor.from_payload(payload(array, "hidden state"))
    assert (tensor.prefix, tensor.core, tensor.is_error) == ("hidden state", 3, False)
    assert (tensor.array.dtype, tensor.array.shape) == (array.dtype, shape)
    np.testing.assert_array_equal(tensor.array, array)
    assert str(tensor) == f"core 3: hidden state {array}\n"


def test_what_is_no_such_tensor_is_its_bytes():
    array = np.arange(4, dtype=np.float32)
    for dtype in ("float8_e3m9", "float32x", ""):
        made = payload(array, dtype=dtype or "\0")
        assert DebugTensor.from_payload(made).array.tobytes() == array.tobytes()
    cut = payload(array)[:-4]
    assert DebugTensor.from_payload(cut).array.tobytes() == array[:3].tobytes()


def test_an_event_that_is_too_short():
    with pytest.raises(struct.error):
        DebugTensor.from_payload(b"x" * 100)


def test_the_second_pipe_is_standard_error():
    assert DebugTensor.from_payload(payload(np.zeros(1), pipe=1)).is_error


def test_files_are_numbered(tmp_path):
    for value in range(3):
        array = np.full((2, 2), value, np.int32)
        DebugTensor.from_payload(payload(array)).save(str(tmp_path))
    for value in range(3):
        place = tmp_path / "x" / "core_3" / str(value)
        array = np.full((2, 2), value, np.int32)
        assert (place / "tensor_data.bin").read_bytes() == array.tobytes()
        assert (place / "formatted_tensor.txt").read_text() == f"{array}\n"
        told = "prefix: x\ndtype: int32\nshape: [2, 2]\n"
        assert (place / "metadata.txt").read_text() == told


@pytest.mark.parametrize(
    "prefix", ["../../up", "..", ".", "/etc/x", "a/b", "", "é" * 300, "x\n..", "...."]
)
def test_no_prefix_leads_out_of_the_directory(tmp_path, prefix):
    directory = tmp_path / "inner" / "kept"
    directory.mkdir(parents=True)
    DebugTensor(prefix, 0, False, np.zeros(1, np.int8)).save(str(directory))
    (place,) = directory.glob("*/core_0/0/tensor_data.bin")
    assert place.resolve().is_relative_to(directory.resolve())
    assert [p.name for p in tmp_path.rglob("*") if p.is_dir()].count("core_0") == 1
    assert len(list(directory.iterdir())) == 1
