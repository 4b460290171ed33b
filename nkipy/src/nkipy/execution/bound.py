"""Calls of a loaded program that are bound to arrays on its device."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from nkipy.execution.device_arrays import is_device_array, memory_of, spike_array
from nkipy.execution.errors import BindingError
from nkipy.execution.memory import Memory
from nkipy.execution.model import ResidentModel
from nkipy.execution.names import by_name, host_array
from nkipy.execution.residency import LOADED
from nkipy.hlo.ir import TensorPlaceholder
from spike import NrtModel, NrtTensor, SpikeError, SpikeTensor
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
        self.lock = threading.Lock()
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
        self._own: list[Any] = [None] * len(self._outputs)
        self._memory: Memory | None = None
        self._call: PreparedCall | None = None
        self._results: dict[str, Any] = {}
        self._kept: list[NrtTensor] = []  # of slices, which calls keep not alive
        self._watched: list[tuple[Any, Any]] = []
        self._uploads: dict[str, tuple[NrtTensor, TensorPlaceholder]] = {}
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
            NrtError: the device failed, or has no memory left.
        """
        with self.lock:
            memory = self._memory
            if memory is not None and LOADED.newest != id(self._resident):
                LOADED.use(self._resident)
            try:
                return self._execute(inputs)
            except SpikeError:
                memory = self._memory
                if memory is None or memory.is_current:
                    raise
                self.release()
                return self._execute(inputs)

    def release(self) -> None:
        """Give up what is of use with the loaded model alone. The lock is held."""
        memory, self._memory = self._memory, None
        self._call = None
        self._kept = []
        if memory is not None:
            memory.free()

    # -- executing ---------------------------------------------------------------------
    def _execute(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        call = self._call
        if call is not None and self._is_unchanged() and self._upload(inputs):
            call.execute()
            return dict(self._results)
        arrays = self._arrays(inputs)
        self._call = None
        call, results = self._resident.enter(lambda model: self._bind(model, arrays))
        call.execute()
        if not self._fresh and self._uploads.keys() == inputs.keys():
            self._call, self._results = call, results
        return dict(results)

    def _upload(self, inputs: Mapping[str, Any]) -> bool:
        """Copy arrays of the host to where the last call took them from; whether these
        are all that is given."""
        if inputs.keys() != self._uploads.keys():
            return False
        for name, array in inputs.items():
            tensor, spec = self._uploads[name]
            if is_device_array(array):
                return False
            tensor.write(host_array(array, spec))
        return True

    def _is_unchanged(self) -> bool:
        """Whether arrays that can change still answer as when they were bound."""
        for array, token in self._watched:
            if spike_array(array).token != token:  # type: ignore[union-attr]
                return False
        return True

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
            _tensor(array, spec, core, "parameter")
        for i, (spec, array) in enumerate(zip(self._outputs, self._targets)):
            if array is None:
                continue
            if i in self._aliases:
                raise BindingError(
                    f"result '{spec.name}' is written into parameter "
                    f"'{self.input_names[self._aliases[i]]}': it takes no array"
                )
            _tensor(array, spec, core, "result")

    def _bind(
        self, model: NrtModel, arrays: Sequence[Any]
    ) -> tuple[PreparedCall, dict[str, Any]]:
        memory = self._memory
        if memory is None or memory.model is not model:
            memory = self._memory = Memory(self._resident, model)
        results = self._result_arrays(arrays)
        written = {p: results[o] for o, p in self._aliases.items()}
        core = memory.core_id
        used, watched, uploads = [], [], {}
        for i, (spec, array) in enumerate(zip(self._inputs, arrays)):
            on_device = array if is_device_array(array) else written.get(i)
            if on_device is None:
                tensor = memory.input(i)
            else:
                tensor, token = _tensor(on_device, spec, core, "parameter")
                watched.append((on_device, token))
            if array is not on_device:
                tensor.write(array)
                uploads[spec.original_name] = tensor, spec
            used.append(tensor)
        made = []
        for i, (spec, array) in enumerate(zip(self._outputs, results)):
            if i in self._aliases:
                made.append(used[self._aliases[i]])
                continue
            tensor, token = _tensor(array, spec, core, "result")
            watched.append((array, token))
            made.append(tensor)
        self._refuse_overlaps(used, made)
        self._kept, self._uploads = [*used, *made], uploads
        self._watched = [(a, token) for a, token in watched if token is not None]
        return memory.prepare(used, made), dict(zip(self.output_names, results))

    def _result_arrays(self, arrays: Sequence[Any]) -> list[Any]:
        """The device array of each result."""
        results = []
        for i, (spec, given) in enumerate(zip(self._outputs, self._targets)):
            aliased = arrays[self._aliases[i]] if i in self._aliases else given
            if aliased is not None and is_device_array(aliased):
                results.append(aliased)
            else:
                results.append(self._own_array(i, spec))
        return results

    def _own_array(self, index: int, spec: TensorPlaceholder) -> Any:
        array = None if self._fresh else self._own[index]
        described = spike_array(array)
        if described is None or described.tensor.is_freed:
            core = self._resident.core_id
            array = self._allocate(spec.shape, spec.dtype, spec.name, core)
            self._own[index] = array
        return array

    def _refuse_overlaps(
        self, used: Sequence[NrtTensor], made: Sequence[NrtTensor]
    ) -> None:
        """Refuse that what is written shares memory with what else is there."""
        others = [
            *zip(self.input_names, used, range(len(used))),
            *(
                (name, tensor, -1 - i)
                for i, (name, tensor) in enumerate(zip(self.output_names, made))
                if i not in self._aliases
            ),
        ]
        for i, (name, tensor) in enumerate(zip(self.output_names, made)):
            own = self._aliases.get(i, -1 - i)
            for other_name, other, place in others:
                if place != own and _overlap(tensor, other):
                    raise BindingError(
                        f"result '{name}' is written into memory that is '{other_name}'"
                        " too; give one of them memory of its own"
                    )


def _tensor(
    array: Any, spec: TensorPlaceholder, core_id: int, what: str
) -> tuple[NrtTensor, Any]:
    """Memory and token of a device array."""
    described = spike_array(array)
    if described is None:
        raise BindingError(
            f"{what} '{spec.original_name}' takes a device array, but received a "
            f"{type(array).__name__}"
        )
    return memory_of(described, spec, core_id, what), described.token


def _overlap(x: NrtTensor, y: NrtTensor) -> bool:
    return x.va < y.va + y.size and y.va < x.va + x.size


def allocate_tensor(
    shape: tuple[int, ...], dtype: np.dtype, name: str, core_id: int
) -> SpikeTensor:
    """Memory for a result; what it holds is undefined."""
    return SpikeTensor.empty(shape, dtype, name, core_id)
