"""Calls of a loaded program with arrays of the host, each with its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nkipy.execution.device_arrays import (
    DeviceMemory,
    is_device_array,
    memory_of,
    spike_array,
)
from nkipy.execution.errors import BindingError
from nkipy.execution.failures import explain, forget
from nkipy.execution.fork_locks import fork_lock
from nkipy.execution.memory import Memory
from nkipy.execution.model import ResidentModel
from nkipy.execution.residency import LOADED
from nkipy.hlo.arguments import describe, expect, explained
from nkipy.hlo.ir import TensorPlaceholder
from spike import NrtError, NrtModel, NrtTensor, SpikeError
from spike._spike import PreparedCall

_DEVICE_CALLS = 16


class HostCall:
    """Copies a call's arrays to the device and its results back.

    It has device memory of its own for the arrays, which it gives back when the program
    is unloaded. Safe to call from several threads; one call runs at a time.

    Args:
        resident: the program.
    """

    def __init__(self, resident: ResidentModel) -> None:
        expect(resident, ResidentModel, "HostCall", "resident")
        self.resident = resident
        self.lock = fork_lock()
        self._memory: Memory | None = None
        self._call: PreparedCall | None = None
        self._device_calls: dict[tuple[int, ...], PreparedCall] = {}
        self._parts = DeviceMemory()
        module = resident.module
        self._counts = len(module.parameters), len(module.results)
        resident.register(self)

    @explained
    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array for a result, which is copied from the device anyhow."""
        return np.empty(shape, dtype)

    def run(
        self,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        ntff: Path | None = None,
    ) -> None:
        """Execute once.

        Args:
            inputs: C-contiguous arrays of the parameters' shapes and dtypes, or device
                arrays, used in place.
            outputs: C-contiguous arrays, which are written when all else has succeeded,
                or device arrays: of results that alias a parameter, that parameter's.
            ntff: a file for a profile of this execution; None: there is none.

        Raises:
            BindingError: there are too few arrays or too many, or a device array does
                not fit.
            NrtError: the device failed; `outputs` and arrays of the host are as before.
                Of a device emulated in this process, ``__cause__`` is what was raised
                there.
        """
        self._check(inputs, outputs)
        with self.lock:
            memory = self._memory
            if memory is None:
                memory = self._enter(inputs)
            elif LOADED.newest != id(self.resident):
                LOADED.use(self.resident)
            forget()
            try:
                self._run(memory, inputs, outputs, ntff)
            except SpikeError:
                if memory.is_current:
                    raise
                self.release()
                self._run(self._enter(inputs), inputs, outputs, ntff)
            except NrtError as error:
                explain(error)
                raise

    def _check(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Refuse too few arrays, or too many, and inputs that are none."""
        if type(inputs) is not list or type(outputs) is not list:
            self._check_counts(inputs, outputs)
        elif (len(inputs), len(outputs)) != self._counts:
            self._check_counts(inputs, outputs)
        for i, array in enumerate(inputs):
            if type(array) is not np.ndarray and not is_device_array(array):
                raise BindingError(
                    f"run() takes arrays for 'inputs', of the host or of the device; "
                    f"number {i} is {describe(array)}"
                )

    def _check_counts(self, inputs: Any, outputs: Any) -> None:
        for what, arrays, count in (
            ("inputs", inputs, self._counts[0]),
            ("outputs", outputs, self._counts[1]),
        ):
            if not isinstance(arrays, (list, tuple)) or len(arrays) != count:
                raise BindingError(
                    f"run() takes a list of {count} arrays for '{what}', but received "
                    f"{describe(arrays)}"
                )

    def unload(self) -> None:
        """Unload the program, for all who use it."""
        self.resident.unload()

    def release(self) -> None:
        """Give up the memory, and what was prepared with it. The lock is held."""
        memory, self._memory = self._memory, None
        self._call = None
        self._device_calls.clear()
        if memory is not None:
            memory.free()

    def _enter(self, inputs: Sequence[Any]) -> Memory:
        """Memory for all of these inputs that are the host's, and for results."""

        def make(model: NrtModel) -> Memory:
            memory = self._memory or Memory(self.resident, model)
            for i, array in enumerate(inputs):
                if type(array) is np.ndarray:
                    memory.input(i)
            for i in range(len(memory.outputs)):
                if i not in memory.aliases:
                    memory.output(i)
            if None not in memory.inputs:
                tensors = [memory.input(i) for i in range(len(memory.inputs))]
                self._call = memory.prepare(tensors, _results(memory, tensors))
            return memory

        self._memory = self.resident.enter(make)
        return self._memory

    def _run(
        self,
        memory: Memory,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        ntff: Path | None,
    ) -> None:
        call = self._call
        for i, array in enumerate(inputs):
            if type(array) is np.ndarray:
                tensor = memory.inputs[i]
                if tensor is None:  # earlier calls had it on the device
                    tensor = self._enter(inputs).input(i)
                tensor.write(array)
            else:
                call = None
        used: list[NrtTensor] = []
        if call is None:
            used = self._used(memory, inputs)  # a call keeps no tensors alive
            call = self._device_call(memory, used)
        if ntff is None:
            call.execute()
        else:
            call.profile(str(ntff))
        _read(memory, outputs)

    def _used(self, memory: Memory, inputs: Sequence[Any]) -> list[NrtTensor]:
        """The tensors for all parameters of a call: the caller's own, or ours."""
        used = []
        for i, (array, spec) in enumerate(zip(inputs, memory.input_specs)):
            described = spike_array(array)
            used.append(
                memory.input(i)
                if described is None
                else memory_of(array, described, spec, memory.core_id, self._parts)
            )
        return used

    def _device_call(self, memory: Memory, used: list[NrtTensor]) -> PreparedCall:
        """The call on these tensors."""
        # An id may be another's by now, while an execution keeps the memory that the
        # call is on, and with it the address.
        key = (*map(id, used), *[tensor.va for tensor in used])
        call = self._device_calls.get(key)
        if call is None or not call.is_valid:
            if len(self._device_calls) >= _DEVICE_CALLS:
                self._device_calls.clear()
            call = memory.prepare(used, _results(memory, used))
            self._device_calls[key] = call
        return call


class ProfiledCall:
    """Runs a call so that each execution writes a profile.

    Args:
        call: the call.
        ntff: the file.
    """

    def __init__(self, call: HostCall, ntff: Path) -> None:
        self.call = call
        self.ntff = ntff
        self.empty = call.empty
        self.unload = call.unload

    def run(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Execute once, as :meth:`HostCall.run`."""
        self.call.run(inputs, outputs, self.ntff)


def _results(memory: Memory, used: Sequence[NrtTensor]) -> list[NrtTensor]:
    """The tensors for all results of a call on `used`."""
    aliases = memory.aliases
    return [
        used[aliases[i]] if i in aliases else memory.output(i)
        for i in range(len(memory.outputs))
    ]


def _read(memory: Memory, outputs: Sequence[Any]) -> None:
    """Read results; those that the caller owns last, when all has succeeded."""
    staged = []
    for i, output in enumerate(outputs):
        if type(output) is not np.ndarray:
            if i not in memory.aliases:
                _copy_there(memory.output(i), output, memory.output_specs[i])
            continue
        if i in memory.aliases:
            copy = np.empty_like(output)
            staged.append((memory.input(memory.aliases[i]), output, copy))
        else:
            memory.output(i).read_into(output)
    for tensor, _, copy in staged:
        tensor.read_into(copy)
    for _, output, copy in staged:
        np.copyto(output, copy)


def _copy_there(result: NrtTensor, array: Any, spec: TensorPlaceholder) -> None:
    """Copy a result into a device array."""
    described = spike_array(array)
    if described is None or not described.is_contiguous:
        raise BindingError(
            f"result '{spec.name}' takes an array of NumPy's, or a contiguous one on a "
            f"device, but received {describe(array)}"
        )
    nbytes = described.nbytes
    described.tensor.copy_from(result, 0, described.offset, nbytes)
