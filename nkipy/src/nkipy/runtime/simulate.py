"""Simulation: the traced HLO, and nothing else, computes the result, on the CPU."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nkipy.core.errors import NKIPyValueError
from nkipy.core.hlo.ir import HLOModule
from nkipy.core.trace import (
    NKIPyKernel,
    OutputLeaf,
    Trace,
    kernel_name,
    result_tree,
    signature_of,
    trace_function,
)
from nkipy.core.tree import map_tree, path_name
from nkipy.runtime.call_key import UnhashableStatic, describe_arguments
from nkipy.runtime.engines import Executable, find_engine
from nkipy.runtime.guards import Guards
from nkipy.runtime.options import SimulationOptions

logger = logging.getLogger("nkipy.simulate")


class HLOText(str):
    """HLO text that a notebook shows in fixed-width type."""

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(self)}</pre>"


class PerRank:
    """An argument, or a leaf of one, that differs between ranks: one value for each.

    Args:
        values: as many values (arrays, or trees of arrays) as there are ranks, all of
            one shape and dtype.
    """

    __slots__ = ("values",)

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = tuple(values)


@dataclass
class Program:
    """A traced and compiled call, ready to run."""

    trace: Trace
    executable: Executable
    guards: Guards
    shapes: list[tuple[tuple[int, ...], np.dtype]] = field(init=False)
    dtypes: list[np.dtype] = field(init=False)
    written: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        module = self.trace.module
        self.shapes = [(r.shape, r.dtype) for r in module.results]
        self.dtypes = [p.dtype for p in module.parameters]
        self.written = module.input_output_alias

    def run(self, arrays: list[Any]) -> Any:
        """The kernel's result for these arguments; it writes into mutated ones."""
        inputs = self.inputs(arrays)
        if self.written:
            outputs = self.outputs(arrays)
            self.executable.run(inputs, outputs)
            self.write_back(arrays, outputs)
        else:
            outputs = [np.empty(shape, dtype) for shape, dtype in self.shapes]
            self.executable.run(inputs, outputs)
        return self.result(outputs)

    def inputs(self, arrays: list[Any]) -> list[np.ndarray]:
        """`arrays` C-contiguous and in the dtypes of the module's parameters."""
        made = []
        for array, dtype in zip(arrays, self.dtypes):
            if type(array) is not np.ndarray or array.dtype != dtype:
                array = np.asarray(array).astype(dtype, copy=False)
            if not array.flags.c_contiguous:
                array = np.ascontiguousarray(array)
            made.append(array)
        return made

    def outputs(self, arrays: list[Any]) -> list[np.ndarray]:
        """Where results go: the caller's arrays where the kernel writes into them."""
        self._check_writable(arrays)
        made = []
        for i, (shape, dtype) in enumerate(self.shapes):
            target = arrays[self.written[i]] if i in self.written else None
            if (
                target is None
                or type(target) is not np.ndarray
                or target.dtype != dtype
                or not target.flags.c_contiguous
            ):
                target = np.empty(shape, dtype)
            made.append(target)
        return made

    def write_back(self, arrays: list[Any], outputs: list[np.ndarray]) -> None:
        """Copy what could not be written in place, and return the caller's arrays."""
        for output, parameter in self.written.items():
            target = arrays[parameter]
            if outputs[output] is not target:
                np.copyto(target, outputs[output], casting="unsafe")
                outputs[output] = target

    def _check_writable(self, arrays: list[Any]) -> None:
        for alias in self.trace.module.aliases:
            target = arrays[alias.param_index]
            if not isinstance(target, np.ndarray) or not target.flags.writeable:
                raise NKIPyValueError(
                    f"the kernel writes into argument '{alias.param_name}', which is "
                    "read-only"
                )
            for i, other in enumerate(arrays):
                if i != alias.param_index and np.may_share_memory(target, other):
                    self._refuse_shared(alias.param_index, i, target, other)

    def _refuse_shared(self, i: int, j: int, x: Any, y: Any) -> None:
        if np.shares_memory(x, y):
            names = [p.original_name for p in self.trace.module.inputs]
            raise NKIPyValueError(
                f"the kernel writes into argument '{names[i]}', which shares memory "
                f"with argument '{names[j]}'; pass a copy of one of them"
            )

    def result(self, outputs: list[np.ndarray]) -> Any:
        """The kernel's return value, built of these outputs."""
        returned = self.trace.result
        if type(returned) is OutputLeaf:
            return outputs[returned.index]
        return result_tree(self.trace, outputs)


class SimulatedKernel:
    """A kernel whose calls execute its HLO on the CPU.

    Calls are cached by the structure of the arguments, shapes, dtypes and static
    values: a warm call neither traces nor compiles.

    Args:
        kernel: a function, or an :class:`NKIPyKernel`.
        options: numerics of the simulation.
        world_size: number of ranks that run together. With more than one, a call
            returns a list with one result per rank, and arguments may be
            :class:`PerRank`.
    """

    def __init__(
        self,
        kernel: Callable[..., Any] | NKIPyKernel,
        options: SimulationOptions | None = None,
        world_size: int = 1,
    ) -> None:
        if isinstance(kernel, NKIPyKernel):
            kernel = kernel.func
        if not callable(kernel):
            raise TypeError(f"expected a function, but received {kernel!r}")
        if world_size < 1:
            raise ValueError(
                f"world_size must be at least 1, but received {world_size}"
            )
        self.func = kernel
        self.options = options or SimulationOptions()
        self.world_size = world_size
        self.__wrapped__ = kernel
        self.__name__ = kernel_name(kernel)
        self.__doc__ = kernel.__doc__
        self.__module__ = getattr(kernel, "__module__", __name__)
        self._signature = signature_of(kernel)
        self._plain_arity = _plain_arity(self._signature)
        self._programs: dict[Any, Program] = {}
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"<simulated kernel {self.__name__!r}>"

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else _BoundKernel(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.world_size > 1:
            return self._call_ranks(args, kwargs)
        program, arrays = self._program(args, kwargs)
        return program.run(arrays)

    def lower(self, *args: Any, **kwargs: Any) -> HLOModule:
        """The module that a call with these arguments executes."""
        if self.world_size > 1:
            args, kwargs = _select_rank((args, kwargs), 0, self.world_size)
        return trace_function(self.func, args, kwargs).module

    def hlo(self, *args: Any, **kwargs: Any) -> HLOText:
        """The text of the module that a call with these arguments executes."""
        return HLOText(self.lower(*args, **kwargs).to_text())

    def cache_size(self) -> int:
        """Number of programs that calls so far have compiled."""
        return len(self._programs)

    def clear_cache(self) -> None:
        """Forget all compiled programs."""
        self._programs.clear()

    # -- finding the program -----------------------------------------------------------
    def _arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not kwargs and len(args) == self._plain_arity:
            return args
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments.values()

    def _program(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Program, list[Any]]:
        arguments = self._arguments(args, kwargs)
        try:
            key, arrays = describe_arguments(arguments)
        except UnhashableStatic as error:
            logger.info("%s: not cached: argument of type %s", self.__name__, error)
            program = self._build(args, kwargs)
            arrays = _arrays_of(arguments)
            return program, arrays
        found = self._programs.get(key)
        if found is None or not found.guards.hold():
            found = self._compile(key, args, kwargs)
        return found, arrays

    def _compile(
        self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Program:
        with self._lock:
            program = self._programs.get(key)
            if program is None or not program.guards.hold():
                self._explain(key, program)
                program = self._programs[key] = self._build(args, kwargs)
        return program

    def _build(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Program:
        guards = Guards(self.func)
        trace = trace_function(self.func, args, kwargs)
        executable = find_engine().compile(
            trace.module, options=self.options, num_replicas=self.world_size
        )
        return Program(trace, executable, guards)

    def _explain(self, key: Any, stale: Program | None) -> None:
        if not logger.isEnabledFor(logging.INFO):
            return
        if stale is not None:
            reason = "a captured global or closure variable has changed"
        elif not self._programs:
            reason = "first call"
        else:
            reason = _difference(key, next(reversed(self._programs)))
        logger.info("%s: tracing and compiling: %s", self.__name__, reason)

    # -- several ranks -----------------------------------------------------------------
    def _call_ranks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        calls = [
            _select_rank((args, kwargs), rank, self.world_size)
            for rank in range(self.world_size)
        ]
        programs = []
        per_rank = []
        for rank_args, rank_kwargs in calls:
            program, arrays = self._program(rank_args, rank_kwargs)
            programs.append(program)
            per_rank.append(arrays)
        program = programs[0]
        if any(p is not program for p in programs):
            raise NKIPyValueError(
                "all ranks run one program: their arguments must have the same shapes, "
                "dtypes and static values"
            )
        self._refuse_shared_writes(program, per_rank)
        inputs = [program.inputs(arrays) for arrays in per_rank]
        outputs = [program.outputs(arrays) for arrays in per_rank]
        program.executable.run_replicas(inputs, outputs)
        for arrays, made in zip(per_rank, outputs):
            program.write_back(arrays, made)
        return [program.result(made) for made in outputs]

    @staticmethod
    def _refuse_shared_writes(program: Program, per_rank: list[list[Any]]) -> None:
        for alias in program.trace.module.aliases:
            targets = [arrays[alias.param_index] for arrays in per_rank]
            if len({id(t) for t in targets}) != len(targets):
                raise NKIPyValueError(
                    f"the kernel writes into argument '{alias.param_name}': pass "
                    "PerRank([...]) with one array for each rank"
                )


class _BoundKernel:
    """A simulated kernel that is a method, bound to its instance."""

    def __init__(self, kernel: SimulatedKernel, instance: Any) -> None:
        self._kernel = kernel
        self._instance = instance

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._kernel(self._instance, *args, **kwargs)

    def lower(self, *args: Any, **kwargs: Any) -> HLOModule:
        return self._kernel.lower(self._instance, *args, **kwargs)

    def hlo(self, *args: Any, **kwargs: Any) -> HLOText:
        return self._kernel.hlo(self._instance, *args, **kwargs)


def _plain_arity(signature: Any) -> int:
    """Number of parameters if all can be given by position, else -1."""
    kinds = [p.kind for p in signature.parameters.values()]
    plain = all(
        k in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        for k, p in zip(kinds, signature.parameters.values())
    )
    return len(kinds) if plain else -1


def _arrays_of(arguments: Any) -> list[Any]:
    from nkipy.core.trace import is_array_like

    arrays: list[Any] = []

    def collect(path: Any, leaf: Any) -> None:
        if is_array_like(leaf):
            arrays.append(leaf)

    for value in arguments:
        map_tree(collect, value)
    return arrays


def _select_rank(
    call: tuple[tuple[Any, ...], dict[str, Any]], rank: int, world_size: int
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of one rank."""

    def pick(path: Any, leaf: Any) -> Any:
        if not isinstance(leaf, PerRank):
            return leaf
        if len(leaf.values) != world_size:
            raise NKIPyValueError(
                f"argument {path_name(path)}: {len(leaf.values)} values for "
                f"{world_size} ranks"
            )
        return leaf.values[rank]

    args, kwargs = call
    return map_tree(pick, args), map_tree(pick, kwargs)


def _difference(new: Any, old: Any) -> str:
    """What is different about a key, in words."""
    if len(new) != len(old):
        return "the structure of the arguments differs from the last compiled call"
    for i, (a, b) in enumerate(zip(new, old)):
        if a != b:
            return f"argument leaf {i}: {b} became {a}"
    return "no program for these arguments yet"


def simulate_traced_kernel(kernel: NKIPyKernel, *args: Any, **kwargs: Any) -> Any:
    """Trace `kernel` for these arguments and execute its HLO on the CPU.

    Args:
        kernel: a traced-kernel object, as :meth:`NKIPyKernel.trace` makes it.
        args, kwargs: the kernel's arguments; arrays it writes into are updated.

    Returns:
        What the kernel returns, with NumPy arrays.
    """
    simulated = SimulatedKernel(kernel)
    program, arrays = simulated._program(args, kwargs)
    kernel._trace = program.trace
    return program.run(arrays)
