"""Modules on the CPU, with the interface of programs on a core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from nkipy.execution.engines import Executable, find_engine
from nkipy.execution.errors import BindingError
from nkipy.execution.names import array_text, by_name, host_array, named
from nkipy.execution.overlaps import Extent, refuse_overlaps
from nkipy.hlo.arguments import checked
from nkipy.hlo.ir import HLOModule, TensorPlaceholder
from nkipy.hlo.options import SimulationOptions

_Arrays = Sequence[np.ndarray | None]
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class SimulatedProgram:
    """A module compiled for the CPU, without arrays; made by :func:`simulate`.

    Attributes:
        module: the module.
        executable: what runs it.
        inputs, outputs: names, shapes and dtypes of parameters and results.
    """

    def __init__(self, module: HLOModule, executable: Executable) -> None:
        self.module = module
        self.executable = executable

    @property
    def inputs(self) -> list[TensorPlaceholder]:
        """Names, shapes and dtypes of the parameters."""
        return self.module.inputs

    @property
    def outputs(self) -> list[TensorPlaceholder]:
        """Names, shapes and dtypes of the results."""
        return self.module.outputs

    def bind(
        self,
        inputs: Mapping[str, np.ndarray] | None = None,
        outputs: Mapping[str, np.ndarray] | None = None,
    ) -> BoundSimulation:
        """A call of the program with these arrays.

        Args:
            inputs: C-contiguous arrays by the names of parameters, read where they are
                at each call. Those that are missing are passed at each call.
            outputs: arrays that results are written into, by name; each call makes new
                ones for the others. A result that aliases a parameter is written into
                that parameter's array.

        Raises:
            BindingError: a name is unknown, an array does not fit, or one that is
                written into shares memory with another.
        """
        given = named(inputs, "inputs"), named(outputs, "outputs")
        return BoundSimulation(self, *given)


class BoundSimulation:
    """A simulated program with arrays for its parameters and results, by name.

    Made by :meth:`SimulatedProgram.bind`. It may be called from several threads.
    """

    def __init__(
        self,
        program: SimulatedProgram,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
    ) -> None:
        self._executable = program.executable
        self._inputs = program.inputs
        self._outputs = program.outputs
        self._aliases = program.module.input_output_alias
        self._written = set(self._aliases.values())
        self._given = by_name("parameter", self._inputs, inputs)
        self._targets = by_name("result", self._outputs, outputs)
        self._names = [
            *(spec.original_name for spec in self._inputs),
            *(spec.name for spec in self._outputs),
        ]
        #: Whether results go into arrays that others have.
        self._writes = bool(self._written) or any(t is not None for t in self._targets)
        given = [
            None if array is None else self._checked(i, array)
            for i, array in enumerate(self._given)
        ]
        self._check_targets()
        written = [
            given[self._aliases[i]] if i in self._aliases else target
            for i, target in enumerate(self._targets)
        ]
        self._refuse_overlaps(given, written)

    def __call__(self, inputs: Mapping[str, Any] = _NOTHING) -> dict[str, Any]:
        """Execute once.

        Args:
            inputs: the parameters that were not bound, by name.

        Returns:
            Arrays by name, one for each result.

        Raises:
            BindingError: a parameter is missing, an array does not fit (any more), or
                one that is written into shares memory with another.
            SimulationError: XLA failed; results are as before.
        """
        passed = by_name("parameter", self._inputs, inputs)
        arrays = []
        for i, (bound, given) in enumerate(zip(self._given, passed)):
            if (bound is None) == (given is None):
                problem = "has not been given" if bound is None else "is bound already"
                name = self._inputs[i].original_name
                raise BindingError(f"parameter '{name}' {problem}")
            arrays.append(self._checked(i, bound if given is None else given))
        # Shape and dtype of an array of NumPy's can be set.
        self._check_targets()
        results = [self._result(i, arrays) for i in range(len(self._outputs))]
        if self._writes:
            self._refuse_overlaps(arrays, results)
        self._executable.run(arrays, results)
        return {spec.name: r for spec, r in zip(self._outputs, results)}

    def _checked(self, index: int, array: Any) -> np.ndarray:
        spec = self._inputs[index]
        made = host_array(array, spec)
        if index in self._written and (made is not array or not made.flags.writeable):
            raise BindingError(
                f"parameter '{spec.original_name}' is written into: it takes a "
                "writable, C-contiguous NumPy array of this machine's byte order, but "
                f"received {_received(array)}"
            )
        return made

    def _check_targets(self) -> None:
        for i, (spec, array) in enumerate(zip(self._outputs, self._targets)):
            if array is not None:
                _check_target(spec, array, i in self._aliases)

    def _refuse_overlaps(self, inputs: _Arrays, outputs: _Arrays) -> None:
        refuse_overlaps(
            [_extent(array) for array in inputs],
            [_extent(array) for array in outputs],
            self._aliases,
            self._names,
        )

    def _result(self, index: int, arrays: list[np.ndarray]) -> np.ndarray:
        if index in self._aliases:
            return arrays[self._aliases[index]]
        target = self._targets[index]
        if target is not None:
            return target
        spec = self._outputs[index]
        return self._executable.empty(spec.shape, spec.dtype)


def _extent(array: np.ndarray | None) -> Extent:
    """Where a C-contiguous array lies; nowhere if there is none as yet."""
    if array is None:
        return 0, 0
    start = array.__array_interface__["data"][0]
    return start, start + array.nbytes


def _check_target(spec: TensorPlaceholder, array: Any, is_aliased: bool) -> None:
    if is_aliased:
        raise BindingError(
            f"result '{spec.name}' is written into a parameter: it takes no array"
        )
    if (
        type(array) is not np.ndarray
        or (array.shape, array.dtype) != (spec.shape, spec.dtype)
        or not (array.flags.c_contiguous and array.flags.writeable)
    ):
        raise BindingError(
            f"result '{spec.name}' takes a writable, C-contiguous NumPy array "
            f"{array_text(spec.dtype, spec.shape)}, but received {_received(array)}"
        )


def _received(array: Any) -> str:
    """An array in words, with what a result may not be written into."""
    if type(array) is not np.ndarray:
        return f"a {type(array).__name__}"
    flags = array.flags
    kinds = [] if flags.writeable else ["read-only"]
    kinds += [] if flags.c_contiguous else ["not C-contiguous"]
    return ", ".join([array_text(array.dtype, array.shape), *kinds])


@checked
def simulate(
    module: HLOModule, options: SimulationOptions | None = None
) -> SimulatedProgram:
    """`module` compiled for the CPU.

    Args:
        module: the module.
        options: numerics; the default is exact.

    Raises:
        HLOArgumentError: an argument is of a wrong kind.
        SimulatorNotFoundError: the emulator is not installed.
        HLOVerificationError: the module breaks HLO's rules.
    """
    return SimulatedProgram(module, find_engine().compile(module, options=options))
