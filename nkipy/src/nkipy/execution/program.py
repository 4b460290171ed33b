"""Programs on a core: loading them, and binding calls of them to arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from nkipy.compiler.build import Artifact
from nkipy.execution.bound import Allocate, BoundCall, allocate_tensor
from nkipy.execution.errors import BindingError
from nkipy.execution.host_call import HostCall
from nkipy.execution.model import ResidentModel
from nkipy.execution.names import named
from nkipy.hlo.arguments import checked, describe, expect
from nkipy.hlo.errors import HLOArgumentValueError
from nkipy.hlo.ir import TensorPlaceholder


class LoadedProgram(ResidentModel):
    """A compiled module on one core, without arrays; made by :func:`load`.

    Attributes:
        neff: path of the NEFF.
        module: the module that it was compiled from.
        core_id: the core.
        inputs, outputs: names, shapes and dtypes of parameters and results.
        aliases: names of results that are written into a parameter's memory, and of it.
    """

    @property
    def inputs(self) -> list[TensorPlaceholder]:
        """Names, shapes and dtypes of the parameters."""
        return self.module.inputs

    @property
    def outputs(self) -> list[TensorPlaceholder]:
        """Names, shapes and dtypes of the results."""
        return self.module.outputs

    @property
    def aliases(self) -> dict[str, str]:
        """Names of results that are written into a parameter's memory, and of that."""
        inputs, outputs = self.inputs, self.outputs
        return {
            outputs[output].name: inputs[parameter].original_name
            for output, parameter in self.module.input_output_alias.items()
        }

    def bind(
        self,
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        *,
        fresh_outputs: bool = False,
        allocate: Allocate = allocate_tensor,
    ) -> BoundCall:
        """A call of the program with these arrays.

        Args:
            inputs: device arrays by the names of parameters; they stay where they are.
                Those that are missing are passed at each call.
            outputs: device arrays that results are written into, by name. A result that
                aliases a parameter is written into that parameter's array.
            fresh_outputs: have each call make new arrays for the other results, rather
                than overwrite those of the call before.
            allocate: makes them: ``allocate(shape, dtype, name, core_id)``. By default,
                a SpikeTensor whose contents are undefined.

        Raises:
            BindingError: a name is unknown, or an array does not fit: not on the
                program's core, of another shape or dtype, or not contiguous.
        """
        expect(allocate, Callable, "bind", "allocate")
        given = named(inputs, "inputs"), named(outputs, "outputs")
        return BoundCall(self, *given, fresh_outputs, allocate)

    def host_call(self) -> HostCall:
        """A call of the program with arrays of the host."""
        return HostCall(self)


@checked
def load(
    artifact: Artifact, core_id: int = 0, rank: tuple[int, int] | None = None
) -> LoadedProgram:
    """A program on a core, which is loaded when it is called.

    When there are too many, the least recently used is unloaded until its next call.

    Args:
        artifact: what :func:`~nkipy.compiler.build.build` returned.
        core_id: the core, counted among the visible ones.
        rank: of a program with collectives, its rank and the number of ranks.

    Raises:
        HLOArgumentError: an argument is of a wrong kind.
        HLOArgumentValueError: the rank is none of that number of ranks.
        BindingError: a parameter or result has no elements, of which a device has none.
    """
    if rank is not None and not 0 <= rank[0] < rank[1]:
        raise HLOArgumentValueError(
            f"load() takes a rank from 0 up and a greater number of ranks for 'rank', "
            f"but received {describe(rank)}"
        )
    module = artifact.module
    for spec in (*module.inputs, *module.outputs):
        if not prod(spec.shape):
            raise BindingError(
                f"'{spec.original_name}' of the program has no elements; a device has "
                "no such arrays (nkipy.execution.device_module leaves them out)"
            )
    return LoadedProgram(artifact.neff, module, core_id, artifact.build_again, rank)
