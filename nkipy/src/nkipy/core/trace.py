"""Tracing: a Python function on NumPy arrays becomes an HLO module."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from nkipy.core import (
    creation_hooks,
    ops,  # noqa: F401  (enters ops into the tables)
    vendor_nki,
)
from nkipy.core.arguments import (
    Parameters,
    _sanitize_array_dtype,  # noqa: F401  (programs for earlier versions import it)
    bind_arguments,
    kernel_name,
)
from nkipy.core.backend import tracing
from nkipy.core.backend._source import raised_location
from nkipy.core.backend.hlo import HLOTraceContext, as_hlo_tensor, leaked
from nkipy.core.errors import (
    USER_ERRORS,
    ConcretizationError,
    NKIPyError,
    NKIPyNotImplementedError,
    NKIPyTypeError,
    describe_op_error,
    describe_value,
)
from nkipy.core.ops._memory_order import memory_order
from nkipy.core.tensor import NKIPyTensorRef, as_traced
from nkipy.core.tree import (
    Path,
    children,
    is_container,
    map_tree,
    own_state,
    path_name,
)
from nkipy.hlo.ir import (
    MUST_ALIAS_SUFFIX,
    AliasInfo,
    HLOInstruction,
    HLOModule,
    SourceLocation,
)
from nkipy.hlo.rewrites.dead_code import eliminate_dead_code
from nkipy.hlo.verifier import verify_module

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["NKIPyKernel", "Trace", "trace_function"]


class OutputLeaf:
    """Stands in a result tree for output `index` of the module."""

    # Not a dataclass: those are containers to the tree functions.
    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __repr__(self) -> str:
        return f"OutputLeaf({self.index})"


class Trace:
    """A traced call.

    Attributes:
        module: the program.
        result: the kernel's result, with an :class:`OutputLeaf` for each array.
        parameter_paths: where in the arguments each parameter stood.
        is_strided: whether an argument was an array that is not C-contiguous: others
            that lie otherwise have traces of their own, and often the same module.
        variables: of the environment, on whose values the module depends.
        orders: of results that NumPy would not make in C order, which axes of theirs
            lie in memory from the outermost to the innermost one.
    """

    def __init__(
        self,
        module: HLOModule,
        result: Any,
        parameter_paths: Sequence[Path] = (),
        is_strided: bool = False,
        variables: Collection[str] = (),
        orders: Mapping[int, tuple[int, ...]] = MappingProxyType({}),
    ) -> None:
        self.module = module
        self.result = result
        self.parameter_paths = parameter_paths
        self.is_strided = is_strided
        self.variables = variables
        self.orders = orders


def trace_function(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Trace:
    """Run `func` on traced arrays and collect what it did.

    Args:
        func: the kernel.
        args, kwargs: its arguments. Of arrays only shape, dtype and strides are used;
            any object that has the first two, as
            :class:`~nkipy.core.arguments.ShapeDtype`, stands for a C-contiguous one.

    Returns:
        The verified module, and how its outputs make up the kernel's result.

    Raises:
        NKIPyError: the kernel does something that cannot be traced.
    """
    vendor_nki.patch()
    bound = bind_arguments(func, args, kwargs)
    module = HLOModule(kernel_name(func))
    ctx = HLOTraceContext(module)
    parameters = Parameters(ctx)
    for key, value in bound.arguments.items():
        bound.arguments[key] = map_tree(parameters, value, (key,))
    held = _mutable_containers(bound.arguments)
    args, kwargs = _without_defaults(bound)
    with tracing(ctx), creation_hooks.installed():
        try:
            returned = func(*args, **kwargs)
        except (TypeError, ValueError) as error:
            # NumPy hides the refusal of a traced value: `plain_array[0] = traced`.
            cause, shown = error.__cause__, isinstance(error, NKIPyError)
            if isinstance(cause, ConcretizationError) and not shown:
                raise cause from None
            if isinstance(error, TypeError) and _WANTS_MEMORY.search(str(error)):
                raise _no_memory(error) from None
            raise
        ctx.current_source_location = definition_of(func)
        _refuse_lost_changes(held, returned, definition_of(func))
        outputs = _Outputs(ctx, parameters)
        result = map_tree(outputs, returned)
        outputs.append_unreturned()
    module.set_results(outputs.values, outputs.names)
    module.aliases = outputs.aliases
    eliminate_dead_code(module)
    verify_module(module, traced=True)
    paths, is_strided = parameters.paths, parameters.has_strided
    return Trace(module, result, paths, is_strided, ctx.variables, outputs.orders)


def _without_defaults(
    bound: inspect.BoundArguments,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments, less defaults that the kernel has itself.

    Functions of NumPy's pass on what they are given, and those of some releases have
    parameters that no op has.
    """
    parameters = bound.signature.parameters
    args = list(bound.args)
    named = [p for p in parameters.values() if p.kind in _BY_POSITION]
    while args and len(args) <= len(named) and args[-1] is named[len(args) - 1].default:
        args.pop()
    kwargs = {
        key: value
        for key, value in bound.kwargs.items()
        if key not in parameters or value is not parameters[key].default
    }
    return tuple(args), kwargs


_BY_POSITION = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)

#: Refusals of Python's and NumPy's that do not say what is wrong with the object.
_WANTS_MEMORY = re.compile(
    "bytes-like object .* not '(NKIPyTensorRef|KnownTensor)'"
    "|^Iterator operand is flagged as writeable, but is an object which cannot"
)


def _no_memory(error: TypeError) -> ConcretizationError:
    return ConcretizationError(
        "a traced array, and any array of a kernel without NumPy between, has no "
        "memory that memoryview, np.frombuffer, np.nditer and the like could read; use "
        "NumPy's other functions",
        location=raised_location(error),
    )


_Held = tuple[Path, Any, list[tuple[Any, Any]]]


def _mutable_containers(arguments: dict[str, Any]) -> list[_Held]:
    """Path, container and children of each argument that a kernel can put things in."""
    found: list[_Held] = []

    def visit(path: Path, value: Any) -> None:
        if is_container(value):
            inside = _contents(value)
            if not isinstance(value, tuple):
                found.append((path, value, inside))
            for key, child in children(value):
                visit((*path, key), child)

    for name, value in arguments.items():
        visit((name,), value)
    return found


def _refuse_lost_changes(
    held: list[_Held], returned: Any, location: SourceLocation | None
) -> None:
    """Raise if the kernel put something else into an argument, and does not return it.

    Containers are traced as copies. A store into an array reaches the caller's; another
    array in its place, which NumPy's caller would see, does not.
    """
    for path, container, before in held:
        now = dict(_contents(container))
        gone = object()
        changed = [k for k, v in before if now.pop(k, gone) is not v] + list(now)
        if changed and not _is_part(container, returned):
            name = path_name((*path, str(changed[0])))
            raise NKIPyNotImplementedError(
                f"the kernel puts something else in the place of '{name}', which the "
                "caller would not see; store into the array instead, a[...] = value, "
                f"or return the {type(container).__name__}, or work on a copy of it",
                location=location,
            )


def _contents(container: Any) -> list[tuple[Any, Any]]:
    """(key, child) of a container, and (name, value) of attributes it has besides.

    Keys of a dict are the dict's own: of 1 and "1", the text is the same.
    """
    held = container.items() if isinstance(container, dict) else children(container)
    own = own_state(container).items()
    return [*held, *((_Attribute(name), value) for name, value in own)]


class _Attribute(NamedTuple):
    """The name of an attribute, which no key of a dict equals."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"


def _is_part(value: Any, tree: Any) -> bool:
    if tree is value:
        return True
    return is_container(tree) and any(_is_part(value, c) for _, c in children(tree))


def definition_of(func: Callable[..., Any]) -> SourceLocation | None:
    """Where a kernel is defined: the location of what belongs to no line of it."""
    code = getattr(inspect.unwrap(func), "__code__", None)
    return SourceLocation(code.co_filename, code.co_firstlineno) if code else None


class _Outputs:
    """Makes an output of each array in the result, then of each written parameter."""

    def __init__(self, ctx: HLOTraceContext, parameters: Parameters) -> None:
        self.ctx = ctx
        self.values: list[HLOInstruction] = []
        self.names: list[str] = []
        self.aliases: list[AliasInfo] = []
        self.orders: dict[int, tuple[int, ...]] = {}
        self.parameters = parameters.tensors
        self.written = {
            id(t): i for i, t in enumerate(parameters.tensors) if t._is_mutated
        }
        for i in self.written.values():
            inst = self.ctx.module.parameters[i]
            inst.name += MUST_ALIAS_SUFFIX

    def __call__(self, path: Path, leaf: Any) -> Any:
        leaf = as_traced(leaf)
        if isinstance(leaf, NKIPyTensorRef):
            if leaf._ctx is not self.ctx:
                raise leaked(leaf)
            index = self.written.get(id(leaf))
            if index is not None:
                del self.written[id(leaf)]
                return self._alias(index, user_returned=True)
            order = memory_order(leaf)
            if order is not None:
                self.orders[len(self.values)] = order
            return self._output(leaf.backend_tensor)
        if isinstance(leaf, (np.ndarray, np.generic)):
            return self._output(self._constant(leaf))
        if leaf is None or isinstance(leaf, (bool, int, float, str)):
            return leaf
        where = f" at {path_name(path)}" if path else ""
        raise NKIPyTypeError(
            f"Unexpected return value type: {type(leaf).__name__}{where}; a "
            "kernel returns arrays, scalars, None, or dicts, lists, tuples, "
            "dataclasses of them",
            location=self.ctx.current_source_location,
        )

    def _constant(self, value: Any) -> HLOInstruction:
        """A plain array in the result. Raises where the device has no such value."""
        try:
            return as_hlo_tensor(self.ctx, value)
        except USER_ERRORS as error:
            location = self.ctx.current_source_location
            received = describe_value(value)
            raise describe_op_error(error, "return", received, location) from None

    def _output(self, value: HLOInstruction) -> OutputLeaf:
        if value.is_parameter:
            value = self.ctx.unary("copy", value)
        return self._add(value, self._unique(f"output{len(self.values)}"))

    def _unique(self, name: str) -> str:
        """`name`, unless a written parameter of that name is an output already."""
        taken = {t.name for t in self.parameters}
        while name in taken:
            name += "_"
        return name

    def _alias(self, index: int, *, user_returned: bool) -> OutputLeaf:
        tensor = self.parameters[index]
        name = tensor.name
        value = tensor.backend_tensor
        if value.is_parameter:  # stored back what was there, or swapped
            value = self.ctx.unary("copy", value)
        position = len(self.values)
        self.aliases.append(AliasInfo(position, index, name, user_returned))
        return self._add(value, name)

    def _add(self, value: HLOInstruction, name: str) -> OutputLeaf:
        self.values.append(value)
        self.names.append(name)
        return OutputLeaf(len(self.values) - 1)

    def append_unreturned(self) -> None:
        """Parameters that were written and not returned are outputs all the same."""
        for index in self.written.values():
            self._alias(index, user_returned=False)


class NKIPyKernel:
    """A function that can be traced.

    Args:
        func: a function of NumPy arrays; a partial, a ufunc, a callable object too.
        backend: "hlo". With "cpu" there is nothing to trace: call the function.

    Attributes:
        func: the function.
        backend: the backend's name.
    """

    def __init__(self, func: Callable[..., Any], backend: str = "hlo") -> None:
        self.func = func
        self.backend = backend
        self._trace: Trace | None = None
        self.__doc__ = getattr(func, "__doc__", None)

    @property
    def __name__(self) -> str:
        return kernel_name(self.func)

    @property
    def _code(self) -> HLOModule | None:
        """The module of the last :meth:`specialize`."""
        return self._trace.module if self._trace is not None else None

    @overload
    @classmethod
    def trace(cls, func: Callable[..., Any], backend: str = "hlo") -> Self: ...

    @overload
    @classmethod
    def trace(
        cls, func: None = None, backend: str = "hlo"
    ) -> Callable[[Callable[..., Any]], Self]: ...

    @classmethod
    def trace(cls, func: Callable[..., Any] | None = None, backend: str = "hlo") -> Any:
        """Make a kernel of `func`; also a decorator, with arguments or without."""
        if func is None:
            return lambda f: cls(f, backend)
        return cls(func, backend)

    def specialize(self, /, *args: Any, **kwargs: Any) -> HLOModule | None:
        """Trace the kernel for arguments of these shapes and dtypes.

        Args:
            args, kwargs: the kernel's arguments. Arrays, also those inside of dicts,
                lists, tuples and dataclasses, become parameters; all else is static.
                A :class:`~nkipy.core.arguments.ShapeDtype`, or any object with a shape
                and a dtype, stands for an array of these.

        Returns:
            The module; None, with a warning, if the backend is "cpu".

        Raises:
            ValueError: the backend is unknown.
            NKIPyError: the kernel does something that cannot be traced.
        """
        if self.backend == "cpu":
            warnings.warn(
                "backend 'cpu' has nothing to trace; call the function", stacklevel=2
            )
            return None
        if self.backend != "hlo":
            raise ValueError(f"Unknown backend {self.backend}")
        self._trace = trace_function(self.func, args, kwargs)
        return self._trace.module

    def __repr__(self) -> str:
        return f"<NKIPyKernel {self.__name__!r} backend={self.backend!r}>"


def result_tree(trace: Trace, outputs: list[Any]) -> Any:
    """The kernel's result, with `outputs` in place of the module's outputs."""

    def fill(path: Path, leaf: Any) -> Any:
        return outputs[leaf.index] if isinstance(leaf, OutputLeaf) else leaf

    return map_tree(fill, trace.result)
