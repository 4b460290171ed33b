"""The emulated libnrt through ctypes, for tests.

Nothing here imports spike: what is tested is the library's C interface itself.
``NKIPY_TEST_LIBNRT`` names another build of the library, such as one with a sanitizer.
"""

from __future__ import annotations

import ctypes
import functools
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from ctypes import (
    POINTER,
    Structure,
    c_bool,
    c_char,
    c_char_p,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from pathlib import Path
from typing import Any

from neff.status import NrtStatus

ROOT = Path(__file__).resolve().parent.parent.parent

SUCCESS, FAILURE = NrtStatus.SUCCESS, NrtStatus.FAILURE
INVALID, INVALID_HANDLE = NrtStatus.INVALID, NrtStatus.INVALID_HANDLE
RESOURCE, TIMEOUT = NrtStatus.RESOURCE, NrtStatus.TIMEOUT
UNINITIALIZED, CLOSED = NrtStatus.UNINITIALIZED, NrtStatus.CLOSED

DEVICE, HOST, VIRTUAL = 0, 1, 2
NO_FRAMEWORK = 1


class Version(Structure):
    _fields_ = [
        ("major", c_uint64),
        ("minor", c_uint64),
        ("patch", c_uint64),
        ("maintenance", c_uint64),
        ("detail", c_char * 128),
        ("git_hash", c_char * 64),
    ]


class InstanceInfo(Structure):
    _fields_ = [
        ("family", c_uint32),
        ("size", c_uint32),
        ("arch_name", c_char * 16),
        ("device_revision", c_char * 8),
    ]


class MemoryStats(Structure):
    _fields_ = [("bytes_used", c_size_t), ("bytes_limit", c_size_t)]


class AllocationInfo(Structure):
    _fields_ = [
        ("physical_address", c_uint64),
        ("size", c_size_t),
        ("hbm_index", c_int),
    ]


class BatchOp(Structure):
    _fields_ = [("offset", c_uint64), ("size", c_uint64), ("buffer", c_void_p)]


class Batch(Structure):
    _fields_ = [("tensor", c_void_p), ("ops", POINTER(BatchOp)), ("num_ops", c_uint32)]


class TensorInfo(Structure):
    _fields_ = [
        ("name", c_char * 256),
        ("usage", c_int),
        ("size", c_size_t),
        ("dtype", c_int),
        ("shape", POINTER(c_uint32)),
        ("ndim", c_uint32),
    ]


_HANDLE = POINTER(c_void_p)

# Function: argument types. All return a status but those in _RESULTS.
_SIGNATURES: dict[str, list[Any]] = {
    "nrt_init": [c_int, c_char_p, c_char_p],
    "nrt_close": [],
    "nrt_get_status_as_str": [c_int],
    "nrt_get_version": [POINTER(Version), c_size_t],
    "nrt_get_instance_info": [POINTER(InstanceInfo), c_size_t],
    "nrt_get_total_nc_count": [POINTER(c_uint32)],
    "nrt_get_total_vnc_count": [POINTER(c_uint32)],
    "nrt_get_visible_nc_count": [POINTER(c_uint32)],
    "nrt_get_visible_vnc_count": [POINTER(c_uint32)],
    "nrt_get_vnc_memory_stats": [
        c_uint32,
        POINTER(MemoryStats),
        c_size_t,
        POINTER(c_size_t),
    ],
    "nrt_load": [c_void_p, c_size_t, c_int32, c_int32, _HANDLE],
    "nrt_unload": [c_void_p],
    "nrt_get_model_tensor_info": [c_void_p, _HANDLE],
    "nrt_free_model_tensor_info": [c_void_p],
    "nrt_tensor_allocate": [c_int, c_int, c_size_t, c_char_p, _HANDLE],
    "nrt_tensor_allocate_empty": [c_char_p, _HANDLE],
    "nrt_tensor_allocate_slice": [c_void_p, c_size_t, c_size_t, c_char_p, _HANDLE],
    "nrt_tensor_attach_buffer": [c_void_p, c_void_p, c_size_t],
    "nrt_tensor_free": [_HANDLE],
    "nrt_tensor_read": [c_void_p, c_void_p, c_size_t, c_size_t],
    "nrt_tensor_write": [c_void_p, c_void_p, c_size_t, c_size_t],
    "nrt_tensor_read_batch": [POINTER(Batch), c_uint64, c_bool],
    "nrt_tensor_write_batch": [POINTER(Batch), c_uint64, c_bool],
    "nrt_tensor_copy": [c_void_p, c_size_t, c_void_p, c_size_t, c_size_t],
    "nrt_tensor_memset": [c_void_p, c_uint64, c_int, c_size_t],
    "nrt_tensor_get_size": [c_void_p],
    "nrt_tensor_get_va": [c_void_p],
    "nrt_tensor_get_device_allocation_info": [c_void_p, POINTER(AllocationInfo)],
    "nrt_tensor_get_lnc_index": [c_void_p, POINTER(c_int)],
    "nrt_tensor_check_output_completion": [c_void_p, c_int64, c_uint64],
    "nrt_tensor_reset_output_completion": [c_void_p],
    "nrt_memcpy_to_device": [c_void_p, c_void_p, c_size_t],
    "nrt_allocate_tensor_set": [_HANDLE],
    "nrt_destroy_tensor_set": [_HANDLE],
    "nrt_add_tensor_to_tensor_set": [c_void_p, c_char_p, c_void_p],
    "nrt_get_tensor_from_tensor_set": [c_void_p, c_char_p, _HANDLE],
    "nrt_execute": [c_void_p, c_void_p, c_void_p],
    "nrt_build_global_comm": [c_int32, c_uint32, c_uint32],
    "nrt_barrier": [c_int32, c_uint32, c_uint32],
    "nrt_all_gather": [c_int32, c_uint32, c_uint32, c_uint32, c_void_p, c_void_p],
    "nrt_get_libnccl_net": [POINTER(c_int), c_char_p, c_size_t],
    "nrt_get_hbm_mmap_va": [c_int, c_int, _HANDLE, POINTER(c_size_t)],
    "nrt_get_dmabuf_fd": [c_uint64, c_uint64, POINTER(c_int)],
    "nrt_get_dmabuf_fd_v2": [c_uint64, c_uint64, POINTER(c_int), POINTER(c_uint64)],
}
_RESULTS: dict[str, Any] = {
    "nrt_close": None,
    "nrt_tensor_free": None,
    "nrt_destroy_tensor_set": None,
    "nrt_get_status_as_str": c_char_p,
    "nrt_tensor_get_size": c_size_t,
    "nrt_tensor_get_va": c_void_p,
    "nrt_get_libnccl_net": c_void_p,
}


def library_path() -> Path:
    """The library under test."""
    chosen = os.environ.get("NKIPY_TEST_LIBNRT")
    if chosen:
        return Path(chosen).resolve()
    from nkipy_emulator import libnrt

    return libnrt.library_path()


def include_dir() -> Path:
    """Our public headers."""
    from nkipy_emulator import libnrt

    return libnrt.include_dir()


@functools.cache
def load() -> Any:
    """The library, with the types of its functions declared."""
    library = ctypes.CDLL(str(library_path()))
    for name, arguments in _SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes = arguments
        function.restype = _RESULTS.get(name, c_int)
    return library


class Nrt:
    """Functions that tests call often, as methods. Statuses are checked or returned."""

    def __init__(self) -> None:
        self.lib = load()

    def check(self, status: int) -> None:
        """Fail unless the status is NRT_SUCCESS."""
        name = self.lib.nrt_get_status_as_str(status).decode()
        assert status == SUCCESS, f"status {status} ({name})"

    def init(self) -> None:
        self.check(self.lib.nrt_init(NO_FRAMEWORK, b"", b""))

    def close(self) -> None:
        self.lib.nrt_close()

    def count(self, function: str) -> int:
        """What one of the four functions that count cores says."""
        result = c_uint32(12345)
        self.check(getattr(self.lib, function)(ctypes.byref(result)))
        return result.value

    def allocate(
        self, size: int, core: int = 0, placement: int = DEVICE, name: str = "t"
    ) -> c_void_p:
        tensor = c_void_p()
        self.check(
            self.lib.nrt_tensor_allocate(
                placement, core, size, name.encode(), ctypes.byref(tensor)
            )
        )
        assert tensor.value
        return tensor

    def slice(self, source: c_void_p, offset: int, size: int) -> c_void_p:
        tensor = c_void_p()
        status = self.lib.nrt_tensor_allocate_slice(
            source, offset, size, b"slice", ctypes.byref(tensor)
        )
        self.check(status)
        return tensor

    def free(self, tensor: c_void_p) -> None:
        self.lib.nrt_tensor_free(ctypes.byref(tensor))
        assert tensor.value is None

    def write(self, tensor: c_void_p, data: bytes, offset: int = 0) -> None:
        self.check(self.lib.nrt_tensor_write(tensor, data, offset, len(data)))

    def read(self, tensor: c_void_p, size: int, offset: int = 0) -> bytes:
        buffer = ctypes.create_string_buffer(size)
        self.check(self.lib.nrt_tensor_read(tensor, buffer, offset, size))
        return buffer.raw

    def memory(self, core: int = 0) -> MemoryStats:
        stats = MemoryStats()
        written = c_size_t()
        status = self.lib.nrt_get_vnc_memory_stats(
            core, ctypes.byref(stats), ctypes.sizeof(stats), ctypes.byref(written)
        )
        self.check(status)
        assert written.value == ctypes.sizeof(stats)
        return stats


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without any setting of the runtime, and these."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("NEURON_", "NKIPY_EMULATOR_"))
    }
    return {**kept, **variables}


_PRELUDE = """
import ctypes, os, sys
from ctypes import byref, c_int, c_size_t, c_uint32, c_void_p
from tests.support import libnrt
from tests.support.libnrt import *
nrt = libnrt.Nrt()
lib = nrt.lib
"""


def start_python(code: str, variables: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start a process that has `nrt` (an Nrt) and `lib` (the functions), and runs code.

    The runtime is one per process: whatever needs its own start-up needs its own
    process.
    """
    script = _PRELUDE + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment(**variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run code as above to its end, which must be a good one."""
    process = start_python(code, variables)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return subprocess.CompletedProcess(process.args, 0, out, err)
