"""Kernels that are compiled when they are called: finding the program of a call."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload
from weakref import WeakValueDictionary

from nkipy.core._known_trees import holds_traced, operands
from nkipy.core.backend import _active_ctx
from nkipy.core.backend._source import warn_caller
from nkipy.core.errors import LeakedTracerError
from nkipy.core.trace import (
    NKIPyKernel,
    Trace,
    definition_of,
    kernel_name,
    trace_function,
)
from nkipy.execution.call_cache import CALLS, CallTable
from nkipy.execution.engines import Executable
from nkipy.execution.fork_locks import fork_rlock
from nkipy.hlo.ir import HLOModule
from nkipy.hlo.notebook import fixed_width
from nkipy.hlo.proto_writer import digest_module
from nkipy.runtime.call_key import (
    CallSignature,
    UnhashableStatic,
    arrays_of,
    describe_arguments,
)
from nkipy.runtime.guards import Guards
from nkipy.runtime.per_rank import refuse_per_rank
from nkipy.runtime.program import Program

if TYPE_CHECKING:
    import logging
    from typing import Concatenate

    from typing_extensions import Self

#: Parameters of a kernel, those of a method without its instance, and that instance.
P = ParamSpec("P")
MethodP = ParamSpec("MethodP")
InstanceT = TypeVar("InstanceT")
#: What a call returns.
R_co = TypeVar("R_co", covariant=True)


#: Attributes of a kernel that :meth:`JitKernel._prepare` makes.
_UNCOPIED = frozenset(
    ("_signature", "_programs", "_executables", "_lock", "_has_warned")
)


class HLOText(str):
    """HLO text that a notebook shows in fixed-width type."""

    def _repr_html_(self) -> str:
        return fixed_width(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """For what exports a notebook as plain text."""
        printer.text(str(self))


class JitKernel(Generic[P, R_co]):
    """A kernel that is traced and compiled on its first call, for each kind of call.

    Calls are cached by the structure of the arguments, shapes, dtypes and static
    values: a warm call neither traces nor compiles. Subclasses say how a traced call
    is compiled. To type checkers it has the parameters and the result of its function.

    Args:
        kernel: a function, or an :class:`NKIPyKernel`.
    """

    #: Of :attr:`logger`.
    logger_name = "nkipy"
    #: What `repr` calls such a kernel.
    kind = "compiled"
    program_type: type[Program] = Program
    #: Ranks that one call runs.
    world_size = 1

    def __init__(self, kernel: Callable[P, R_co] | NKIPyKernel) -> None:
        if isinstance(kernel, NKIPyKernel):
            kernel = kernel.func
        if not callable(kernel):
            raise TypeError(f"expected a function, but received {kernel!r}")
        self.func = kernel
        self.__wrapped__ = kernel
        self.__name__ = kernel_name(kernel)
        self.__doc__ = kernel.__doc__
        self.__module__ = getattr(kernel, "__module__", __name__)
        self._prepare()

    def _prepare(self) -> None:
        """Begin with no programs."""
        self._signature = CallSignature(self.func)
        self._programs: CallTable[Program] = CALLS.table()
        #: Of traces of strided arguments, by the digest of their module.
        self._executables: WeakValueDictionary[bytes, Executable] = (
            WeakValueDictionary()
        )
        self._lock = fork_rlock()
        self._has_warned = False

    # Programs belong to this process and this object; a copy compiles its own.
    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in _UNCOPIED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._prepare()

    def __reduce_ex__(self, protocol: Any) -> str | tuple[Any, ...]:
        """By its name, as a function, where a module or class has it by that name."""
        name = getattr(self.func, "__qualname__", "")
        found: Any = sys.modules.get(self.__module__)
        for part in name.split("."):
            found = getattr(found, part, None)
        return name if found is self else super().__reduce_ex__(protocol)

    def __copy__(self) -> Self:
        made = type(self).__new__(type(self))
        made.__setstate__(self.__getstate__())
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        made.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return made

    @property
    def logger(self) -> logging.Logger:
        """Says at level INFO why a call was traced and compiled."""
        import logging

        return logging.getLogger(self.logger_name)

    def __repr__(self) -> str:
        return f"<{self.kind} kernel {self.__name__!r}>"

    @overload
    def __get__(self, instance: None, owner: Any = None) -> Self: ...

    @overload
    def __get__(
        self: JitKernel[Concatenate[InstanceT, MethodP], R_co],
        instance: InstanceT,
        owner: Any = None,
    ) -> BoundKernel[MethodP, R_co]: ...

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else BoundKernel(self, instance)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co:
        if self.world_size > 1 or _active_ctx.get() is not None:
            return self._call_otherwise(args, kwargs)
        program, arrays = self._program(args, kwargs)
        return program.run(arrays)

    def _call_otherwise(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call inside a trace, or over several ranks."""
        if holds_traced((args, kwargs)):
            return self.func(*args, **kwargs)  # a part of the kernel that calls it
        args, kwargs = operands(args), operands(kwargs)
        program, arrays = self._program(args, kwargs)
        return program.run(arrays)

    def lower(self, /, *args: Any, **kwargs: Any) -> HLOModule:
        """The module that a call with these arguments executes."""
        return trace_function(self.func, args, kwargs).module

    def hlo(self, /, *args: Any, **kwargs: Any) -> HLOText:
        """The text of the module that a call with these arguments executes."""
        return HLOText(self.lower(*args, **kwargs).to_text())

    def cache_size(self) -> int:
        """Number of programs that calls so far have compiled, and that are kept."""
        return len(self._programs)

    def clear_cache(self) -> None:
        """Forget all compiled programs."""
        self._programs.clear()

    def run_traced(
        self, kernel: NKIPyKernel, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """One call; `kernel` remembers the program, as after its own specialize."""
        program, arrays = self._program(args, kwargs)
        kernel._trace = program.trace
        return program.run(arrays)

    def _executable(self, module: HLOModule) -> Executable:
        """`module` compiled, for where kernels of this class run."""
        raise NotImplementedError

    def _build(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Program:
        refuse_per_rank((args, kwargs))
        # Guards first: a change while the kernel is being traced is noticed, too.
        guards = Guards(self.func, (*args, *kwargs.values()))
        try:
            trace = trace_function(self.func, args, kwargs)
        finally:
            replaced = guards.put_back()
        if replaced is not None:
            raise LeakedTracerError(
                f"the kernel puts a traced value {replaced}, which it "
                "captured, where it has no value after the call; pass what changes as "
                "an argument, and store into it or return it",
                location=definition_of(self.func),
            )
        guards.watch_variables(trace.variables)
        return self.program_type(trace, self._executable_of(trace), guards)

    def _executable_of(self, trace: Trace) -> Executable:
        """What computes a trace: compiled once for arguments that differ in strides."""
        module = self._module_of(trace)
        if not trace.is_strided:
            return self._executable(module)
        digest = digest_module(module)
        found = self._executables.get(digest)
        if found is None:
            found = self._executables[digest] = self._executable(module)
        return found

    def _module_of(self, trace: Trace) -> HLOModule:
        """What is compiled for a trace."""
        return trace.module

    # -- finding the program -----------------------------------------------------------
    def _program(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Program, list[Any]]:
        arguments = self._signature.arguments(args, kwargs)
        try:
            key, arrays = describe_arguments(arguments)
        except UnhashableStatic as error:
            self.logger.info(
                "%s: not cached: argument of type %s", self.__name__, error
            )
            return self._build(args, kwargs), arrays_of(arguments)
        found = self._programs.find(key)
        if found is None:
            found = self._compile(key, args, kwargs)
        return found, arrays

    def _compile(
        self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Program:
        with self._lock:
            program = self._programs.find(key)
            if program is None:
                stale = self._programs.stale(key)
                self._explain(key, stale)
                program = self._build(args, kwargs)
                program.changes_captured = program.guards.changed()
                self._programs.put(key, program, program.guards.check)
                if stale is not None and stale.changes_captured:
                    if program.changes_captured:
                        self._warn_of_changes()
        return program

    def _warn_of_changes(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            warn_caller(
                f"kernel {self.__name__!r} changes what it captured, or an attribute "
                "of an argument (a counter, say), and is traced and compiled anew at "
                "each call; pass what changes as an argument of its own"
            )

    def _explain(self, key: Any, stale: Program | None) -> None:
        if stale is not None:
            reason = "a captured global or closure variable has changed"
        elif not len(self._programs):
            reason = "first call"
        else:
            reason = _difference(key, self._programs.newest_key())
        self.logger.info("%s: tracing and compiling: %s", self.__name__, reason)


class BoundKernel(Generic[P, R_co]):
    """A compiled kernel that is a method, bound to its instance."""

    def __init__(self, kernel: JitKernel[..., R_co], instance: Any) -> None:
        self._kernel = kernel
        self._instance = instance
        self.__doc__ = kernel.__doc__

    @property
    def __name__(self) -> str:
        return self._kernel.__name__

    def __repr__(self) -> str:
        return f"<{self._kernel!r} of {self._instance!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return BoundKernel, (self._kernel, self._instance)

    def __deepcopy__(self, memo: dict[int, Any]) -> BoundKernel[P, R_co]:
        return BoundKernel(self._kernel, copy.deepcopy(self._instance, memo))

    def __getattr__(self, name: str) -> Any:
        if name == "__wrapped__":  # for who asks for the signature, and no call does
            return MethodType(self._kernel.func, self._instance)
        raise AttributeError(f"{self!r} has no attribute {name!r}")

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co:
        return self._kernel(self._instance, *args, **kwargs)

    def lower(self, /, *args: Any, **kwargs: Any) -> HLOModule:
        return self._kernel.lower(self._instance, *args, **kwargs)

    def hlo(self, /, *args: Any, **kwargs: Any) -> HLOText:
        return self._kernel.hlo(self._instance, *args, **kwargs)


def _difference(new: Any, old: Any) -> str:
    """What is different about a key, in words."""
    if len(new) != len(old):
        return "the structure of the arguments differs from the last compiled call"
    for i, (a, b) in enumerate(zip(new, old)):
        if a != b:
            return f"argument leaf {i}: {b} became {a}"
    return "no program for these arguments yet"
