"""The emulated libnrt through ctypes: models, tensors and executions.

For tests of loading and executing. Every call releases the interpreter's lock, unless
it is made through :attr:`Nrt.holding_lock`.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ctypes import byref, c_int, c_int32, c_size_t, c_uint32
from ctypes import c_uint64 as c_u64
from ctypes import c_void_p as ptr
from pathlib import Path
from typing import Any

import numpy as np

from neff.status import NrtStatus
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOModule
from nkipy_emulator.neff_writer import ProgramDescription, neff_bytes
from tests.support.libnrt import SUCCESS, TensorInfo, library_path, load

QUEUE_FULL = NrtStatus.QUEUE_FULL
NOT_ENOUGH_NC = NrtStatus.LOAD_NOT_ENOUGH_NC
UNSUPPORTED_NEFF_VERSION = NrtStatus.UNSUPPORTED_NEFF_VERSION
UNRECOVERABLE = NrtStatus.EXEC_UNIT_UNRECOVERABLE
BAD_INPUT = NrtStatus.EXEC_BAD_INPUT
NUM_ERR = NrtStatus.EXEC_COMPLETED_WITH_NUM_ERR
WITH_ERR = NrtStatus.EXEC_COMPLETED_WITH_ERR
OOB = NrtStatus.EXEC_OOB
TENSOR_OP, COMPUTE, COLLECTIVES = range(3)


class NrtFailure(RuntimeError):
    """A call returned another status than NRT_SUCCESS."""

    def __init__(self, function: str, status: int) -> None:
        super().__init__(f"{function} returned {status}")
        self.status = status


def make_module(
    body: Any,
    *like: np.ndarray,
    names: Sequence[str] = (),
    results: Sequence[str] | None = None,
    aliases: Sequence[Any] = (),
) -> HLOModule:
    """The module of ``body(builder, *parameters)``, with parameters like the arrays."""
    module = HLOModule("test")
    parameters = [
        module.add_parameter(a.shape, a.dtype, names[i] if names else f"x{i}")
        for i, a in enumerate(like)
    ]
    module.set_results(body(HLOBuilder(module.entry), *parameters), results)
    module.aliases = list(aliases)
    return module


def make_neff(
    body: Any,
    *like: np.ndarray,
    names: Sequence[str] = (),
    results: Sequence[str] | None = None,
    aliases: Sequence[Any] = (),
    **description: Any,
) -> bytes:
    """The NEFF of such a module."""
    module = make_module(body, *like, names=names, results=results, aliases=aliases)
    return neff_bytes(module, ProgramDescription(**description))


@contextmanager
def session(directory: Path, cores: int = 1, **environment: str) -> Iterator[Nrt]:
    """The runtime with `cores` cores, which no other process competes for.

    Args:
        directory: for the files that tell which process has which core.
        cores: how many.
        environment: variables to be set while it starts.
    """
    if singleton := sys.modules.get("spike.spike_singleton"):
        singleton.reset()  # it may hold the process's one runtime
    own = {
        "NKIPY_EMULATOR_LOCK_DIR": str(directory),
        "NEURON_RT_VISIBLE_CORES": f"0-{cores - 1}",
    }
    with Nrt().running(**own, **environment) as nrt:
        yield nrt


class Nrt:
    """The functions of libnrt, raising :class:`NrtFailure`."""

    def __init__(self) -> None:
        self.lib = load()
        self.holding_lock = ctypes.PyDLL(str(library_path()))

    def call(self, function: str, *args: Any) -> None:
        """Call ``nrt_<function>`` or, with that name, ``nrta_…``."""
        name = function if function.startswith("nrta_") else f"nrt_{function}"
        status = getattr(self.lib, name)(*args)
        if status != SUCCESS:
            raise NrtFailure(name, status)

    @contextmanager
    def running(self, **environment: str) -> Iterator[Nrt]:
        """The runtime, initialised in `environment` and closed in the end."""
        saved = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        try:
            self.call("init", 1, b"", b"")
        finally:
            for name, value in saved.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        try:
            yield self
        finally:
            self.lib.nrt_close()

    def close(self) -> None:
        self.lib.nrt_close()

    # ---------------------------------------------------------------- models

    def load(
        self, neff: bytes, core: int = 0, rank: int = 0, world_size: int = 1
    ) -> ptr:
        model = ptr()
        where = (neff, c_size_t(len(neff)), c_int32(core), c_int32(1))
        if world_size == 1:
            self.call("load", *where, byref(model))
        else:
            ranks = (c_uint32(rank), c_uint32(world_size))
            self.call("load_collectives", *where, *ranks, byref(model))
        return model

    def unload(self, model: ptr) -> None:
        self.call("unload", model)

    def tensor_info(self, model: ptr) -> list[tuple[str, int, int, int, list[int]]]:
        """Name, usage, size, dtype and shape of each tensor."""
        address = ptr()
        self.call("get_model_tensor_info", model, byref(address))
        assert address.value is not None
        count = c_u64.from_address(address.value).value
        array = (TensorInfo * count).from_address(address.value + 8)
        infos = [
            (t.name.decode(), t.usage, t.size, t.dtype, list(t.shape[: t.ndim]))
            for t in array
        ]
        self.call("free_model_tensor_info", address)
        return infos

    # ---------------------------------------------------------------- tensors

    def empty(self, nbytes: int, core: int = 0, placement: int = 0) -> ptr:
        tensor = ptr()
        args = (c_int(placement), c_int(core), c_size_t(nbytes), b"t")
        self.call("tensor_allocate", *args, byref(tensor))
        return tensor

    def tensor(self, array: np.ndarray, core: int = 0, placement: int = 0) -> ptr:
        """A tensor with the bytes of `array`."""
        tensor = self.empty(array.nbytes, core, placement)
        self.write(tensor, array)
        return tensor

    def write(self, tensor: ptr, array: np.ndarray) -> None:
        data = np.ascontiguousarray(array)
        where = (ptr(data.ctypes.data), c_size_t(0), c_size_t(data.nbytes))
        self.call("tensor_write", tensor, *where)

    def read(self, tensor: ptr, shape: Sequence[int], dtype: Any) -> np.ndarray:
        out = np.empty(shape, dtype)
        where = (ptr(out.ctypes.data), c_size_t(0), c_size_t(out.nbytes))
        self.call("tensor_read", tensor, *where)
        return out

    def free(self, tensor: ptr) -> None:
        self.lib.nrt_tensor_free(byref(tensor))

    def tensor_set(self, tensors: Mapping[str, ptr]) -> ptr:
        made = ptr()
        self.call("allocate_tensor_set", byref(made))
        for name, tensor in tensors.items():
            self.call("add_tensor_to_tensor_set", made, name.encode(), tensor)
        return made

    def destroy(self, *sets: ptr) -> None:
        for tensors in sets:
            self.lib.nrt_destroy_tensor_set(byref(tensors))

    def slice(self, tensor: ptr, offset: int, size: int) -> ptr:
        part = ptr()
        where = (c_size_t(offset), c_size_t(size), b"part")
        self.call("tensor_allocate_slice", tensor, *where, byref(part))
        return part

    # ---------------------------------------------------------------- execution

    def execute(self, model: ptr, inputs: ptr, outputs: ptr, repeat: int = 0) -> None:
        if repeat:
            self.call("execute_repeat", model, inputs, outputs, c_int(repeat))
        else:
            self.call("execute", model, inputs, outputs)

    def run(self, neff: bytes, *arrays: np.ndarray, like: np.ndarray) -> np.ndarray:
        """The only result of a program with parameters x0, x1, … on new tensors."""
        model = self.load(neff)
        inputs = {f"x{i}": self.tensor(a) for i, a in enumerate(arrays)}
        out = self.empty(like.nbytes)
        self.execute(model, self.tensor_set(inputs), self.tensor_set({"output0": out}))
        return self.read(out, like.shape, like.dtype)

    def schedule(
        self, model: ptr, inputs: ptr, outputs: ptr, status: c_int | None = None
    ) -> int:
        """Queue an execution; its sequence."""
        sequence = c_u64()
        target = byref(status) if status is not None else None
        self.call(
            "nrta_execute_schedule",
            *(model, inputs, outputs, c_int(0), target, byref(sequence)),
        )
        return sequence.value

    def is_completed(self, sequence: int) -> bool:
        done = ctypes.c_bool()
        self.call("nrta_is_completed", c_u64(sequence), byref(done))
        return done.value


def attached(nrt: Nrt, array: np.ndarray) -> ptr:
    """A tensor that is the memory of `array`."""
    tensor = ptr()
    nrt.call("tensor_allocate_empty", b"attached", byref(tensor))
    where = (ptr(array.ctypes.data), c_size_t(array.nbytes))
    nrt.call("tensor_attach_buffer", tensor, *where)
    return tensor
