"""The device memory of a bound call: tensors for parameters and results."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import spike
from nkipy.execution.model import ResidentModel
from nkipy.hlo.ir import TensorPlaceholder
from spike import NrtModel, NrtTensor
from spike._spike import PreparedCall


class Memory:
    """Tensors for the parameters and results of a loaded model, made when needed.

    It belongs to one bound call, and goes with the model when that is unloaded.

    Args:
        resident: whose model it is.
        model: the model, loaded.
    """

    def __init__(self, resident: ResidentModel, model: NrtModel) -> None:
        module = resident.module
        self.model = model
        self.core_id = resident.core_id
        self.input_specs = module.inputs
        self.output_specs = module.outputs
        self.aliases = module.input_output_alias
        self.inputs: list[NrtTensor | None] = [None] * len(self.input_specs)
        self.outputs: list[NrtTensor | None] = [None] * len(self.output_specs)

    @property
    def is_current(self) -> bool:
        """Whether the model is still loaded, in a runtime that is still open."""
        return not self.model.is_unloaded

    def input(self, index: int) -> NrtTensor:
        """The tensor for a parameter."""
        tensor = self.inputs[index]
        if tensor is None:
            tensor = self.inputs[index] = self._allocate(self.input_specs[index])
        return tensor

    def output(self, index: int) -> NrtTensor:
        """The tensor for a result that aliases no parameter."""
        tensor = self.outputs[index]
        if tensor is None:
            tensor = self.outputs[index] = self._allocate(self.output_specs[index])
        return tensor

    def prepare(
        self, inputs: Sequence[NrtTensor], outputs: Sequence[NrtTensor]
    ) -> PreparedCall:
        """The call with these tensors, which it does not keep alive."""
        return self.model.prepare(
            {spec.name: t for spec, t in zip(self.input_specs, inputs)},
            {spec.name: t for spec, t in zip(self.output_specs, outputs)},
        )

    def free(self) -> None:
        """Give the memory back now, whoever still refers to it."""
        for tensor in (*self.inputs, *self.outputs):
            if tensor is not None:
                tensor.free()

    def _allocate(self, spec: TensorPlaceholder) -> NrtTensor:
        nbytes = prod(spec.shape) * spec.dtype.itemsize
        runtime = spike.get_spike_singleton()
        return runtime.allocate_tensor(nbytes, self.core_id, spec.name)
