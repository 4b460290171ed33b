"""The debug stream: connections, events, polling."""

from __future__ import annotations

import ctypes
import select
import struct
from ctypes import byref, c_char, c_int, c_size_t, c_uint32, c_uint64, c_void_p

import numpy as np
import pytest

from tests.support import nrt_client
from tests.support.libnrt import INVALID

QUEUE_EMPTY = 15
TENSOR_READ = 1


class Header(ctypes.Structure):
    _fields_ = [("data_size", c_uint64), ("type", c_uint32), ("reserved", c_char * 52)]


@pytest.fixture
def nrt(tmp_path):
    with nrt_client.session(tmp_path, cores=2) as nrt:
        yield nrt


def connect(nrt, core: int = 0) -> int:
    descriptor = c_int(-1)
    nrt.call("debug_client_connect", core, byref(descriptor))
    return descriptor.value


def publish(nrt, array: np.ndarray, core: int = 0, prefix: str = "x") -> int:
    data = np.ascontiguousarray(array)
    shape = (c_uint64 * array.ndim)(*array.shape)
    return nrt.lib.nkipy_emulator_debug_tensor(
        core,
        prefix.encode(),
        c_uint32(1),
        array.dtype.name.encode(),
        shape,
        c_size_t(array.ndim),
        c_void_p(data.ctypes.data),
        c_size_t(data.nbytes),
    )


def read(nrt, descriptor: int) -> tuple[Header, bytes] | int:
    """An event, or the status if there is none."""
    header, payload = Header(), c_void_p()
    status = nrt.lib.nrt_debug_client_read_one_event(
        descriptor, byref(header), byref(payload)
    )
    if status:
        return status
    data = ctypes.string_at(payload.value, header.data_size)
    free = ctypes.CDLL(None).free
    free.argtypes = [c_void_p]
    free(payload)
    return header, data


def is_readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def test_an_event_carries_the_tensor(nrt):
    stream = connect(nrt, core=1)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert publish(nrt, x, core=1, prefix="hidden state") == 0
    header, data = read(nrt, stream)
    assert ctypes.sizeof(Header) == 64
    assert header.type == TENSOR_READ
    assert header.data_size == len(data) == 1024 + x.nbytes
    assert data[:512].rstrip(b"\0") == b"hidden state"
    assert struct.unpack_from("II", data, 512) == (1, 1)
    assert data[520:536].rstrip(b"\0") == b"float32"
    assert struct.unpack_from("8Q", data, 536) == (2, 3, 0, 0, 0, 0, 0, 0)
    assert struct.unpack_from("Q", data, 600) == (x.nbytes,)
    assert np.array_equal(np.frombuffer(data[1024:], np.float32).reshape(2, 3), x)


def test_the_descriptor_polls_readable_while_there_are_events(nrt):
    stream = connect(nrt)
    assert not is_readable(stream)
    assert read(nrt, stream) == QUEUE_EMPTY
    for i in range(2):
        assert publish(nrt, np.full(1, i, np.int32)) == 0
    for i in range(2):
        assert is_readable(stream)
        assert read(nrt, stream)[1][1024:] == struct.pack("i", i)
    assert not is_readable(stream)
    assert read(nrt, stream) == QUEUE_EMPTY


def test_events_without_a_client_are_dropped(nrt):
    assert publish(nrt, np.zeros(4, np.int8)) == 0
    stream = connect(nrt)
    assert publish(nrt, np.zeros(4, np.int8), core=1) == 0
    assert read(nrt, stream) == QUEUE_EMPTY


def test_one_client_per_core(nrt):
    stream = connect(nrt)
    assert connect(nrt, core=1) != stream
    with pytest.raises(nrt_client.NrtFailure) as failure:
        connect(nrt)
    assert failure.value.status == INVALID
    nrt.lib.nrt_debug_client_connect_close(stream)
    nrt.lib.nrt_debug_client_connect_close(stream)  # nothing happens
    assert read(nrt, stream) == INVALID
    connect(nrt)


def test_a_full_stream_loses_the_oldest(nrt, monkeypatch):
    monkeypatch.setenv("NEURON_RT_DEBUG_STREAM_BUFFER_SIZE", "3")
    stream = connect(nrt)
    for i in range(5):
        publish(nrt, np.full(1, i, np.int8))
    assert [read(nrt, stream)[1][1024] for _ in range(3)] == [2, 3, 4]
    assert read(nrt, stream) == QUEUE_EMPTY
    assert not is_readable(stream)


@pytest.mark.parametrize("core", [-1, 2])
def test_cores_that_there_are_not(nrt, core):
    with pytest.raises(nrt_client.NrtFailure) as failure:
        connect(nrt, core)
    assert failure.value.status == INVALID
    assert publish(nrt, np.zeros(1), core) == INVALID


def test_too_many_dimensions(nrt):
    assert publish(nrt, np.zeros((1,) * 9)) == INVALID
    assert publish(nrt, np.zeros((1,) * 8)) == 0


def test_long_texts_are_cut(nrt):
    stream = connect(nrt)
    assert publish(nrt, np.zeros(1), prefix="p" * 2000) == 0
    _, data = read(nrt, stream)
    assert data[:512] == b"p" * 511 + b"\0"
