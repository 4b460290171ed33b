"""Calls of a loaded program that are bound to arrays on its device."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from nkipy.execution.bound_inputs import Inputs, Watched
from nkipy.execution.device_arrays import (
    DeviceMemory,
    is_device_array,
    memory_of,
    note_written,
    spike_array,
)
from nkipy.execution.errors import BindingError
from nkipy.execution.failures import explain, forget
from nkipy.execution.fork_locks import fork_lock
from nkipy.execution.memory import Memory
from nkipy.execution.model import ResidentModel
from nkipy.execution.names import by_name, host_array
from nkipy.execution.overlaps import Extent, refuse_overlaps
from nkipy.execution.residency import LOADED
from nkipy.hlo.ir import TensorPlaceholder
from spike import NrtError, NrtModel, NrtTensor, SpikeError, SpikeTensor
from spike._spike import PreparedCall

#: Makes a device array: ``allocate(shape, dtype, name, core_id)``.
Allocate = Callable[[tuple[int, ...], np.dtype, str, int], Any]
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class BoundCall:
    """A program with arrays for its parameters and results, by name.

    Made by :meth:`LoadedProgram.bind`. What is bound belongs to this object: another
    binding of the same program has other memory. It may be called from several threads;
    one call runs at a time. It survives that the program is unloaded, and with it what
    was copied from the host.

    Attributes:
        input_names, output_names: of the parameters and results, in their order.
    """

    def __init__(
        self,
        resident: ResidentModel,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
        fresh_outputs: bool,
        allocate: Allocate,
    ) -> None:
        module = resident.module
        self.lock = fork_lock()
        self._resident = resident
        self._inputs = module.inputs
        self._outputs = module.outputs
        self._aliases = module.input_output_alias
        self.input_names = tuple(p.original_name for p in self._inputs)
        self.output_names = tuple(o.name for o in self._outputs)
        self._given = by_name("parameter", self._inputs, inputs)
        self._targets = by_name("result", self._outputs, outputs)
        self._fresh = fresh_outputs
        self._allocate = allocate
        #: Arrays of our own for results, by place.
        self._own: dict[int, Any] = {}
        self._memory: Memory | None = None
        self._bound: Inputs | None = None
        self._call: PreparedCall | None = None
        self._results: list[Any] = []
        #: Those of a class that wants to know that it was written into.
        self._told: list[Any] = []
        self._made: list[NrtTensor] = []  # prepared calls keep no slices alive
        self._parts = DeviceMemory()
        self._watched = Watched()
        self._has_targets = any(target is not None for target in self._targets)
        self._check_given()
        resident.register(self)

    def __call__(self, inputs: Mapping[str, Any] = _NOTHING) -> dict[str, Any]:
        """Execute once.

        Args:
            inputs: the parameters that were not bound, by name: arrays of the host,
                which are copied, or of the device.

        Returns:
            Device arrays by name, one for each result: those given to ``bind``; where a
            result aliases a parameter, that parameter's array; else arrays of this
            object, which the next call overwrites, or fresh ones if that was asked for.

        Raises:
            BindingError: a parameter is missing, or an array does not fit.
            SpikeError: an array was freed.
            NrtError: the device failed, or has no memory left. Of a device emulated in
                this process, ``__cause__`` is what was raised there.
        """
        with self.lock:
            memory = self._memory
            if memory is not None and LOADED.newest != id(self._resident):
                LOADED.use(self._resident)
            forget()
            try:
                return self._execute_anew(inputs)
            except NrtError as error:
                explain(error)
                raise

    def release(self) -> None:
        """Give up what is of use with the loaded model alone. The lock is held."""
        memory, self._memory = self._memory, None
        self._bound = self._call = None
        if memory is not None:
            memory.free()

    # -- executing ---------------------------------------------------------------------
    def _execute_anew(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Execute; once more, bound anew, if the runtime has been reset."""
        try:
            return self._execute(inputs)
        except SpikeError:
            memory = self._memory
            if memory is None or memory.is_current:
                raise
            self.release()
            return self._execute(inputs)

    def _execute(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        bound = self._bound
        if bound is None or not bound.take(inputs):
            arrays = self._arrays(inputs)
            self._bound = self._call = None
            self._resident.enter(lambda model: self._bind(model, arrays))
        elif self._fresh or not self._is_ready():
            self._call = None
            self._resident.enter(lambda _: self._bind_outputs(bound))
        assert self._call is not None
        self._call.execute()
        note_written(self._told)
        return dict(zip(self.output_names, self._results))

    def _is_ready(self) -> bool:
        """Whether the results have the memory that the call was prepared for."""
        call = self._call
        return call is not None and call.is_valid and self._watched.is_unchanged()

    def _arrays(self, inputs: Mapping[str, Any]) -> list[Any]:
        """One array for each parameter: bound, or of this call."""
        passed = by_name("parameter", self._inputs, inputs)
        arrays = []
        for spec, bound, given in zip(self._inputs, self._given, passed):
            if (bound is None) == (given is None):
                problem = "has not been given" if bound is None else "is bound already"
                raise BindingError(f"parameter '{spec.original_name}' {problem}")
            array = bound if given is None else given
            arrays.append(array if is_device_array(array) else host_array(array, spec))
        return arrays

    # -- binding -----------------------------------------------------------------------
    def _check_given(self) -> None:
        core = self._resident.core_id
        for spec, array in zip(self._inputs, self._given):
            if array is None:
                continue
            if not is_device_array(array):
                raise BindingError(
                    f"parameter '{spec.original_name}' is bound to a "
                    f"{type(array).__name__}, which is no device array; pass arrays of "
                    "the host at each call"
                )
            self._tensor(array, spec, core, "parameter")
        for i, (spec, array) in enumerate(zip(self._outputs, self._targets)):
            if array is None:
                continue
            if i in self._aliases:
                raise BindingError(
                    f"result '{spec.name}' is written into parameter "
                    f"'{self.input_names[self._aliases[i]]}': it takes no array"
                )
            self._tensor(array, spec, core, "result")

    def _bind(self, model: NrtModel, arrays: Sequence[Any]) -> None:
        """Bind everything, and remember it for calls that pass the like."""
        memory = self._memory
        if memory is None or memory.model is not model:
            memory = self._memory = Memory(self._resident, model)
        bound = Inputs(self._written(arrays))
        for i, (spec, array) in enumerate(zip(self._inputs, arrays)):
            on_device = array if is_device_array(array) else bound.written.get(i)
            if on_device is None:
                tensor = memory.input(i)
            else:
                tensor, token = self._tensor(
                    on_device, spec, memory.core_id, "parameter"
                )
                bound.watched.add(on_device, token)
            if array is not on_device:
                tensor.write(array)
                bound.uploads[spec.original_name] = tensor, spec
            bound.used.append(tensor)
        self._bind_outputs(bound)
        # What is passed on the device, or leaves with a fresh result, is for this call.
        is_passed = any(
            given is None and is_device_array(array)
            for given, array in zip(self._given, arrays)
        )
        leaves = self._fresh and any(
            not is_device_array(arrays[p]) for p in self._aliases.values()
        )
        if not is_passed and not leaves:
            self._bound = bound

    def _written(self, arrays: Sequence[Any]) -> dict[int, Any]:
        """The device array of each parameter that is written into, by its place."""
        written = {}
        for output, parameter in self._aliases.items():
            array = arrays[parameter]
            if not is_device_array(array):
                array = self._own_array(output)
            written[parameter] = array
        return written

    def _bind_outputs(self, bound: Inputs) -> None:
        """Prepare the call on these inputs, with arrays for all results."""
        memory = self._memory
        assert memory is not None
        results: list[Any] = []
        made: list[NrtTensor] = []
        self._watched = Watched()
        for i, (spec, target) in enumerate(zip(self._outputs, self._targets)):
            parameter = self._aliases.get(i)
            if parameter is not None:
                results.append(bound.written[parameter])
                made.append(bound.used[parameter])
                continue
            array = self._own_array(i) if target is None else target
            tensor, token = self._tensor(array, spec, memory.core_id, "result")
            self._watched.add(array, token)
            results.append(array)
            made.append(tensor)
        if bound is not self._bound or self._has_targets:
            refuse_overlaps(
                [_extent(tensor) for tensor in bound.used],
                [_extent(tensor) for tensor in made],
                self._aliases,
                (*self.input_names, *self.output_names),
                own=self._own,
            )
        self._results, self._made = results, made
        self._told = [x for x in results if hasattr(type(x), "__spike_written__")]
        self._call = memory.prepare(bound.used, made)

    def _tensor(
        self, array: Any, spec: TensorPlaceholder, core_id: int, what: str
    ) -> tuple[NrtTensor, Hashable | None]:
        """Memory and token of a device array."""
        described = spike_array(array)
        if described is None:
            raise BindingError(
                f"{what} '{spec.original_name}' takes a device array, but received a "
                f"{type(array).__name__}"
            )
        tensor = memory_of(array, described, spec, core_id, self._parts, what)
        return tensor, described.token

    def _own_array(self, index: int) -> Any:
        """An array of ours for a result."""
        spec = self._outputs[index]
        array = self._own.get(index)
        described = spike_array(array)
        if described is None or described.tensor.is_freed:
            core = self._resident.core_id
            array = self._allocate(spec.shape, spec.dtype, spec.name, core)
            if not self._fresh:
                self._own[index] = array
        return array


def _extent(tensor: NrtTensor) -> Extent:
    return tensor.va, tensor.va + tensor.size


def allocate_tensor(
    shape: tuple[int, ...], dtype: np.dtype, name: str, core_id: int
) -> SpikeTensor:
    """Memory for a result; what it holds is undefined."""
    return SpikeTensor.empty(shape, dtype, name, core_id)
