"""A compiled call: the caller's arrays go in, the kernel's result comes out."""

from __future__ import annotations

import os
from collections.abc import Callable, Set
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.arguments import require_array
from nkipy.core.errors import NKIPyOverflowError, NKIPyValueError
from nkipy.core.trace import OutputLeaf, Trace, result_tree
from nkipy.execution.engines import Executable
from nkipy.runtime.captured_arrays import CapturedArrays
from nkipy.runtime.guards import Guards
from nkipy.shared_elements import has_shared_elements


class Program:
    """A traced and compiled call, ready to run.

    Attributes:
        trace: the kernel as traced.
        executable: what computes it.
        guards: whether what the kernel captured is still the same.
        changes_captured: it was not, right after the kernel had been traced.
    """

    #: Classes of arguments that results are not made after.
    silent: Set[type] = frozenset((np.ndarray,))

    def __init__(self, trace: Trace, executable: Executable, guards: Guards) -> None:
        self.trace = trace
        self.executable = executable
        self.guards = guards
        self.changes_captured = False
        module = trace.module
        self.shapes = [(r.shape, r.dtype) for r in module.results]
        self.dtypes = [p.dtype for p in module.parameters]
        self.written = module.input_output_alias
        digest: Any = getattr(executable, "digest", None)
        if digest is not None:
            made: Any = executable
            keys = os.urandom(made.digest_keys)
            guards.keep_digests(digest, keys, made.watch)
        self._makes_results = hasattr(executable, "run_new")
        captured = guards.arrays()
        self._captured = CapturedArrays(captured)
        #: What the kernel wrote while it was traced, before the arguments are read.
        self._captured_written = CapturedArrays(
            [array for array in captured if not array.is_unwritten()]
        )

    def run(self, arrays: list[Any]) -> Any:
        """The kernel's result for these arguments; it writes into mutated ones."""
        inputs = self.inputs(arrays)
        if self.written or self._captured_written:
            outputs = self.outputs(arrays)
            self.executable.run(inputs, outputs)
            self.write_back(arrays, outputs)
        else:
            made: Any = self.executable
            run_new = made.run_new if self._makes_results else self._run_new
            outputs = run_new(inputs)
        return self.result(outputs)

    def maker(self, arrays: list[Any]) -> Callable[..., Any]:
        """What makes an array for a result, of shape and dtype, beside `arrays`, of
        which some are of other classes than `silent`."""
        return self.executable.empty

    def _maker(self, arrays: list[Any]) -> Callable[..., Any]:
        silent = self.silent
        for array in arrays:
            if type(array) not in silent:
                return self.maker(arrays)
        return self.executable.empty

    def _run_new(self, inputs: list[Any]) -> list[Any]:
        """Execute once, with new arrays for all results."""
        empty = self._maker(inputs)
        outputs = [empty(shape, dtype) for shape, dtype in self.shapes]
        self.executable.run(inputs, outputs)
        return outputs

    def is_resident(self, array: Any) -> bool:
        """Whether `array` lies where the program runs, and is used in place."""
        return False

    def inputs(self, arrays: list[Any]) -> list[Any]:
        """`arrays` C-contiguous and in the dtypes of the module's parameters."""
        made = []
        for array, dtype in zip(arrays, self.dtypes):
            if type(array) is not np.ndarray or array.dtype != dtype:
                if self.is_resident(array):
                    made.append(array)
                    continue
                if type(array) is not np.ndarray:
                    require_array(array, self._name(len(made)))
                array = self._narrowed(np.asarray(array), dtype, len(made))
            if not array.flags.c_contiguous:
                array = np.ascontiguousarray(array)
            made.append(array)
        return made

    def _narrowed(self, array: np.ndarray, dtype: np.dtype, index: int) -> np.ndarray:
        """`array` in `dtype`. Raises OverflowError where that changes an integer."""
        if not dt.fits(array, dtype):
            name = self._name(index)
            raise NKIPyOverflowError(
                f"argument '{name}' holds values out of range for {dtype.name}, to "
                f"which {array.dtype.name} is narrowed"
            )
        return array.astype(dtype, copy=False)

    def outputs(self, arrays: list[Any]) -> list[Any]:
        """Where results go: the caller's arrays where the kernel writes into them."""
        self._check_writable(arrays)
        if self._captured:
            self._check_captured(arrays)
        made, make = [], None
        for i, (shape, dtype) in enumerate(self.shapes):
            target = arrays[self.written[i]] if i in self.written else None
            if target is None:
                make = make or self._maker(arrays)
                target = make(shape, dtype)
            elif not self._takes_results(target, dtype):
                target = self.executable.empty(shape, dtype)
            made.append(target)
        return made

    def _takes_results(self, target: Any, dtype: np.dtype) -> bool:
        if type(target) is not np.ndarray:
            return self.is_resident(target)
        return target.dtype == dtype and target.flags.c_contiguous

    def write_back(self, arrays: list[Any], outputs: list[Any]) -> None:
        """Copy what could not be written in place, and return the caller's arrays."""
        for output, parameter in self.written.items():
            target = arrays[parameter]
            if outputs[output] is not target:
                _store(outputs[output], target)
                outputs[output] = target

    def extent(self, array: Any) -> tuple[Any, int, int] | None:
        """Memory, first byte and end of what :meth:`is_resident`; None for the rest."""
        return None

    def _check_writable(self, arrays: list[Any]) -> None:
        extents = [self.extent(array) for array in arrays]
        for alias in self.trace.module.aliases:
            written = alias.param_index
            target = arrays[written]
            if not self._is_writable(target):
                raise NKIPyValueError(
                    f"the kernel writes into argument '{alias.param_name}', which is "
                    "read-only"
                )
            if isinstance(target, np.ndarray) and has_shared_elements(target):
                raise NKIPyValueError(
                    f"the kernel writes into argument '{alias.param_name}', which has "
                    "elements that share memory; pass np.ascontiguousarray of it"
                )
            for i, other in enumerate(arrays):
                if i == written:
                    continue
                x, y = extents[written], extents[i]
                if _overlap(x, y) if x or y else _share_memory(target, other):
                    self._refuse_shared(written, i)

    def _check_captured(self, arrays: list[Any]) -> None:
        for i in self.written.values():
            place = self._captured.sharing(arrays[i])
            if place is not None:
                name = self._name(i)
                self._refuse_captured(
                    f"the kernel writes into argument '{name}'", place
                )
        if self._captured_written:
            for i, array in enumerate(arrays):
                host = array if self.is_resident(array) else np.asarray(array)
                place = self._captured_written.sharing(host)
                if place is not None:
                    use = f"the kernel reads argument '{self._name(i)}'"
                    self._refuse_captured(use, f"{place}, written by the kernel")

    def _refuse_captured(self, use: str, place: str) -> None:
        raise NKIPyValueError(
            f"{use}, which shares memory with an array that it captured ({place}); "
            "pass a copy, or take both from the arguments"
        )

    def _name(self, index: int) -> str:
        return self.trace.module.inputs[index].original_name

    def _is_writable(self, target: Any) -> bool:
        if isinstance(target, np.ndarray):
            return target.flags.writeable
        return self.is_resident(target)

    def _refuse_shared(self, i: int, j: int) -> None:
        raise NKIPyValueError(
            f"the kernel writes into argument '{self._name(i)}', which shares memory "
            f"with argument '{self._name(j)}'; pass a copy of one of them"
        )

    def result(self, outputs: list[Any]) -> Any:
        """The kernel's return value, built of these outputs."""
        returned = self.trace.result
        if type(returned) is OutputLeaf:
            return outputs[returned.index]
        return result_tree(self.trace, outputs)


def _store(result: np.ndarray, target: np.ndarray) -> None:
    """Copy `result`; what the kernel left alone keeps the digits it had in 64 bits."""
    if target.dtype.itemsize == result.dtype.itemsize:
        np.copyto(target, result)
        return
    bits = f"u{result.dtype.itemsize}"
    with np.errstate(over="ignore"):
        before = target.astype(result.dtype)
    changed = result.view(bits) != before.view(bits)
    np.copyto(target, result, where=changed, casting="unsafe")


def _share_memory(x: np.ndarray, y: np.ndarray) -> bool:
    return np.may_share_memory(x, y) and np.shares_memory(x, y)


def _overlap(x: tuple[Any, int, int] | None, y: tuple[Any, int, int] | None) -> bool:
    return bool(x and y and x[0] == y[0] and x[1] < y[2] and y[1] < x[2])
