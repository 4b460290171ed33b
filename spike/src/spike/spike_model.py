"""Loaded models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from neff.reported import complete, examine, is_same_dtype
from neff.status import NrtStatus
from neff.tensors import UNKNOWN_DTYPE, TensorInfo
from spike._spike import (
    AsyncExecution,
    NrtError,
    NrtModel,
    NrtTensor,
    PreparedCall,
    TensorMetadata,
    recall,
)
from spike.benchmark import BenchmarkResult
from spike.call_memory import Arrays, Calls, remember
from spike.device_array import DeviceMemory, SpikeArray, spike_array
from spike.device_benchmark import benchmark_on_device
from spike.spike_singleton import get_spike_singleton
from spike.spike_tensor import SpikeTensor
from spike.switch_benchmark import benchmark_switch

if TYPE_CHECKING:
    from typing_extensions import Self

# By name: SpikeTensors, or others that speak the device-array protocol.
Tensors = dict[str, Any]
_BAD_NEFF = NrtStatus.INVALID, NrtStatus.UNSUPPORTED_NEFF_VERSION


class TensorMismatchError(ValueError, AssertionError):
    """A tensor that the model does not take. (AssertionError is what this API used to
    raise, so that it can still be caught as one.)"""


class SpikeModel:
    """A NEFF loaded on a core.

    Call it with `inputs` and `outputs`, tensors by name, to execute. Without `outputs`
    they are allocated and returned by name. `save_trace=True` writes a profile to
    `ntff_name`, by default beside the NEFF. A tensor is a SpikeTensor, or any other
    object with `__spike_array__` whose elements are contiguous.

    Arguments are validated once: a later call with the same tensor objects goes
    straight to libnrt. Raises TypeError for what is no dict of SpikeTensor, ValueError
    for tensors that the model does not take and outputs that overlap, SpikeError for
    freed tensors, NrtError if execution fails.

    Attributes:
        model_ref: the model, as an NrtModel.
        name: for messages.
        neff_path: where it was loaded from.
        input_tensors_info, output_tensors_info: size, dtype and shape by name, in the
            order of the NEFF. The dtype is the NEFF's own where libnrt has no name for
            it (fp8, bool).
    """

    #: What outputs are allocated as.
    tensor_class: ClassVar[type[SpikeTensor]] = SpikeTensor

    def __init__(self, model_ref: NrtModel, name: str, neff_path: Path | str) -> None:
        self._calls: Calls = {}
        self._memory = DeviceMemory()
        self.model_ref = model_ref
        self.name = name
        self.neff_path = Path(neff_path)
        info = model_ref.tensor_info()
        self._reported = {"Input": info.inputs, "Output": info.outputs}
        inputs, outputs, self._aliased = complete(neff_path, info.inputs, info.outputs)
        self.input_tensors_info = _metadata(inputs)
        self.output_tensors_info = _metadata(outputs)
        self._outputs = {tensor.name: _layout(tensor) for tensor in outputs}

    @classmethod
    def load_from_neff(
        cls,
        neff_path: Path | str,
        name: str | None = None,
        core_id: int = 0,
        cc_enabled: bool = False,
        rank_id: int = 0,
        world_size: int = 1,
    ) -> Self:
        """Load a NEFF on a core, with collectives as rank `rank_id` of `world_size`.

        With -1 libnrt chooses the core. Raises SpikeError if the file cannot be read,
        NrtError if libnrt refuses it.
        """
        path = Path(neff_path)
        try:
            ref = get_spike_singleton().load_model(
                str(path), core_id, cc_enabled, rank_id, world_size
            )
        except NrtError as error:
            if error.status in _BAD_NEFF:
                error.args = (f"{error}. {examine(path)}",)
            raise
        return cls(ref, path.stem if name is None else name, path)

    def __call__(
        self,
        inputs: Tensors,
        outputs: Tensors | None = None,
        save_trace: bool = False,
        ntff_name: str | None = None,
    ) -> dict[str, SpikeTensor] | Any:
        made, calls = None, self._calls
        call = recall(calls, inputs, outputs) or self._prepare(inputs, outputs)
        if outputs is None:
            made, memory = self._allocate(inputs)
            call = call.with_outputs(memory)
        if save_trace:
            call.profile(str(ntff_name or self.neff_path.with_suffix(".ntff")))
        else:
            call.execute()
        return made

    def execute_async(self, inputs: Tensors, outputs: Tensors) -> AsyncExecution:
        """Start an execution; its handle has `wait()` and `done()`.

        Executions of a core run in the order of their start, so that waiting for the
        last one is enough. The tensors are kept until it is done. Raises as calling
        does, and NrtError with status NRT_QUEUE_FULL when libnrt takes no more: wait
        for one.
        """
        self._check_is_dict("Output", outputs)
        known = recall(self._calls, inputs, outputs)
        return (known or self._prepare(inputs, outputs)).execute_async()

    def benchmark(
        self,
        inputs: Tensors,
        outputs: Tensors | None = None,
        warmup_iter: int = 5,
        benchmark_iter: int = 5,
        mode: Literal["device", "host"] = "device",
        switch_with: SpikeModel | None = None,
        switch_inputs: Tensors | None = None,
    ) -> BenchmarkResult:
        """Time executions: on the device, by libnrt's trace, or on the host's clock.

        With `switch_with`, another model on this core, the result's `switch` has what
        alternating the two costs: on the host's clock, and in mode "device" on the
        device, too. That model's inputs are `switch_inputs`, by default zeros.

        Where the trace holds estimates, the result says so. Raises ValueError for a bad
        mode or less than one iteration, and for a model that is this one or on another
        core, RuntimeError if the trace lost executions, or has no switch.
        """
        if mode not in ("device", "host"):
            raise ValueError(
                f"Invalid benchmark mode '{mode}'. Use 'device' or 'host'."
            )
        if benchmark_iter < 1 or warmup_iter < 0:
            raise ValueError(
                "benchmark_iter must be at least 1 and warmup_iter at least 0, got "
                f"{benchmark_iter} and {warmup_iter}"
            )
        # A call keeps no tensors: the outputs' have to stay until it is over.
        call, _kept = self._benchmark_call(inputs, outputs)
        other, counts = (switch_with, switch_inputs), (warmup_iter, benchmark_iter)
        if other != (None, None):
            return benchmark_switch(self, call, *other, *counts, mode)
        if mode == "host":
            return call.benchmark(*counts)
        return benchmark_on_device(call, self.model_ref.core_id, *counts)

    def _benchmark_call(
        self, inputs: Tensors, outputs: Tensors | None
    ) -> tuple[PreparedCall, Tensors]:
        """A call, and its outputs, which it does not keep."""
        kept = self._allocate(inputs)[0] if outputs is None else outputs
        return self._prepare(inputs, kept), kept

    def allocate_output_tensors(self, inputs: Tensors | None = None) -> list[Any]:
        """Tensors of zeros for all outputs, in order.

        With `inputs` given, an output that is written into an input is that tensor.
        """
        made, _ = self._allocate(inputs := inputs or {})
        for name, tensor in made.items():
            if self._aliased.get(name) not in inputs:
                tensor.tensor_ref.fill(0)
        return list(made.values())

    def _allocate(self, inputs: Tensors) -> tuple[Tensors, dict[str, NrtTensor]]:
        """Tensors of any contents for all outputs, or the inputs that they are written
        into; and their memory."""
        made: Tensors = {}
        memory = {}
        for name, (nbytes, shape, dtype) in self._outputs.items():
            if (aliased := self._aliased.get(name)) in inputs:
                made[name] = inputs[aliased]
                memory[name] = self._memory.of(made[name])
            else:
                memory[name] = self.model_ref.allocate(nbytes, name)
                made[name] = self.tensor_class(memory[name], shape, dtype, name)
        return made, memory

    def _prepare(self, inputs: Tensors, outputs: Tensors | None) -> PreparedCall:
        arrays = self._validate("Input", self.input_tensors_info, inputs)
        of, made, given = self._memory.of, Arrays(), outputs or {}
        if outputs is not None:
            made = self._validate("Output", self.output_tensors_info, outputs)
            self._check_aliases(arrays, made, outputs)
        call = self.model_ref.prepare(
            {name: of(inputs[name], array) for name, array in arrays.items()},
            {name: of(given[name], array) for name, array in made.items()},
            [array.tensor for ts in (arrays, made) for array in ts.values()],
        )
        remember(self._calls, call, (inputs, arrays), (outputs, made))
        return call

    def _validate(
        self, kind: str, infos: Mapping[str, TensorMetadata], tensors: Tensors
    ) -> Arrays:
        self._check_is_dict(kind, tensors)
        for problem, names in (
            ("Unknown", tensors.keys() - infos.keys()),
            ("Missing", infos.keys() - tensors.keys()),
        ):
            if names:
                raise ValueError(
                    f"{problem} {kind.lower()}(s) {names} for model '{self.name}'. "
                    f"Expected {kind.lower()}s: {list(infos)}"
                )
        return {
            name: self._checked(kind, name, infos[name], tensor)
            for name, tensor in tensors.items()
        }

    def _checked(
        self, kind: str, name: str, info: TensorMetadata, tensor: Any
    ) -> SpikeArray:
        where, core = f"{kind} {name}: expected", self.model_ref.core_id
        array = spike_array(tensor)
        if array is None:
            got = f"{type(tensor).__name__} on {getattr(tensor, 'device', 'the host')}"
            raise TypeError(f"{where} a SpikeTensor, got {got}")
        if array.core_id != core:
            raise TensorMismatchError(
                f"{where} model and tensor on the same core, got model core_id {core} "
                f"and tensor core_id {array.core_id}"
            )
        # A scalar may be described as of one dimension, and the other way round.
        if (array.shape or (1,)) != (tuple(info.shape) or (1,)):
            raise TensorMismatchError(f"{where} shape {info.shape}, got {array.shape}")
        actual, reported = array.dtype.name, self._reported[kind][name].dtype
        if not is_same_dtype(info.dtype, reported, actual):
            raise TensorMismatchError(f"{where} dtype {info.dtype}, got {actual}")
        if not array.is_contiguous:
            raise TensorMismatchError(
                f"{where} contiguous elements, got strides {array.strides} for shape "
                f"{array.shape}: make a copy"
            )
        return array

    def _check_is_dict(self, kind: str, tensors: Any) -> None:
        if not isinstance(tensors, dict):
            raise TypeError(
                f"{kind}s: expected a dict of SpikeTensor by name, got "
                f"{type(tensors).__name__}"
            )

    def _check_aliases(self, inputs: Arrays, outputs: Arrays, given: Tensors) -> None:
        for name, aliased in self._aliased.items():
            if not outputs[name].is_same_memory(inputs[aliased]):
                raise TensorMismatchError(
                    f"Output {name}: expected the tensor of input {aliased}, which "
                    f"it is written into, got {given[name]!r}"
                )

    def close(self) -> None:
        """Unload now, or after the last running call. Idempotent."""
        self.model_ref.unload()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name={self.name!r}, neff_path='{self.neff_path}')"
        )


def _metadata(tensors: Iterable[TensorInfo]) -> dict[str, TensorMetadata]:
    return {t.name: TensorMetadata(t.nbytes, t.dtype, list(t.shape)) for t in tensors}


def _layout(output: TensorInfo) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """Bytes, shape and dtype of an output; so many uint8 if they do not agree."""
    if output.dtype != UNKNOWN_DTYPE:
        dtype = np.dtype(output.dtype)
        if prod(output.shape) * dtype.itemsize == output.nbytes:
            return output.nbytes, output.shape, dtype
    return output.nbytes, (output.nbytes,), np.dtype(np.uint8)
