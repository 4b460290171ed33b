"""Calls of a model that are bound to tensors, made ready once and found again."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, ClassVar, NamedTuple

import numpy as np

from neff.tensors import UNKNOWN_DTYPE
from spike._spike import CallMemory, NrtModel, PreparedCall, TensorMetadata
from spike.device_array import DeviceMemory, SpikeArray
from spike.spike_singleton import get_spike_singleton
from spike.spike_tensor import SpikeTensor

# By name: SpikeTensors, or others that speak the device-array protocol.
Tensors = dict[str, Any]
Arrays = dict[str, SpikeArray]


class _Output(NamedTuple):
    """How an output is made: of so many bytes, or as the input it is written into."""

    nbytes: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    aliased: str | None


class BoundCalls(CallMemory):
    """The calls of a model that were made last. Not of use by itself: what tensors fit
    is for `_validated` to say."""

    #: What outputs are allocated as.
    tensor_class: ClassVar[type[SpikeTensor]] = SpikeTensor

    def __init__(
        self,
        model_ref: NrtModel,
        outputs: Mapping[str, TensorMetadata],
        aliased: Mapping[str, str],
    ) -> None:
        super().__init__()
        self.model_ref = model_ref
        self._memory = DeviceMemory()
        self._has_aliases = bool(aliased)
        self._outputs = {
            name: _output(info, aliased.get(name)) for name, info in outputs.items()
        }

    def _validated(
        self, inputs: Tensors, outputs: Tensors | None
    ) -> tuple[Arrays, Arrays]:
        """What the tensors answer, once it is known to be what the model takes."""
        raise NotImplementedError

    def allocate_output_tensors(self, inputs: Tensors | None = None) -> list[Any]:
        """Tensors of zeros for all outputs, in order.

        With `inputs` given, an output that is written into an input is that tensor.
        """
        inputs = inputs or {}
        made = self._allocate_outputs(inputs)
        for name, tensor in made.items():
            if self._outputs[name].aliased not in inputs:
                tensor.tensor_ref.fill(0)
        return list(made.values())

    def _allocate_outputs(self, inputs: Tensors) -> Tensors:
        """As allocate_output_tensors, but of any contents, and by name."""
        runtime, core, made = get_spike_singleton(), self.model_ref.core_id, {}
        for name, (nbytes, shape, dtype, aliased) in self._outputs.items():
            if aliased in inputs:
                made[name] = inputs[aliased]
            else:
                ref = runtime.allocate_tensor(nbytes, core, name)
                made[name] = self.tensor_class(ref, shape, dtype, name)
        return made

    def _bind(
        self, inputs: Tensors, outputs: Tensors | None
    ) -> tuple[PreparedCall, Tensors]:
        """A call with these tensors, made or remembered, and its outputs."""
        call = self.recall(inputs, outputs) or self._prepare(inputs, outputs)
        if outputs is not None:
            return call, outputs
        made = self._allocate_outputs(inputs)
        refs = {
            name: self._memory.of(tensor)
            if self._outputs[name].aliased
            # Of the exact size, as it was allocated so: quicker.
            else tensor.tensor_ref
            for name, tensor in made.items()
        }
        return call.with_outputs(refs), made

    def _prepare(self, inputs: Tensors, outputs: Tensors | None) -> PreparedCall:
        """A call with these tensors, that is remembered; with None for the outputs, one
        that lacks just these."""
        arrays, made = self._validated(inputs, outputs)
        of, given = self._memory.of, outputs or {}
        call = self.model_ref.prepare(
            {name: of(inputs[name], array) for name, array in arrays.items()},
            {name: of(given[name], array) for name, array in made.items()},
            [array.tensor for ts in (arrays, made) for array in ts.values()],
        )
        self.remember(call, inputs, arrays, outputs, made)
        return call


def _output(info: TensorMetadata, aliased: str | None) -> _Output:
    if info.dtype != UNKNOWN_DTYPE:
        shape, dtype = tuple(info.shape), np.dtype(info.dtype)
        if prod(shape) * dtype.itemsize == info.size:
            return _Output(info.size, shape, dtype, aliased)
    return _Output(info.size, (info.size,), np.dtype(np.uint8), aliased)
