"""The op registry: one record per op.

A record names the op, the NumPy functions that it answers, its implementation per
backend (or a composition of other ops), and the samples that tests, benchmarks and the
coverage table iterate over. See the developer guide for a worked example.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core import op_table
from nkipy.core._known_trees import holds_known, operands
from nkipy.core.backend import _active_ctx, get_backend, set_source_location
from nkipy.core.backend._source import caller_location
from nkipy.core.backend.hlo import HLOTraceContext, leaked
from nkipy.core.errors import (
    USER_ERRORS,
    NKIPyError,
    describe_call,
    describe_op_error,
)
from nkipy.core.known_tensor import make_traced
from nkipy.core.op_table import OpTable, original
from nkipy.core.ops import _loading
from nkipy.core.ops._loading import PACKAGE, numpy_name
from nkipy.core.ops._memory_order import lay_out
from nkipy.core.ops._samples import ErrorSample, Sampler

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "NUMPY_TABLE",
    "OPS",
    "Op",
    "get_backend",
    "set_source_location",
]

F = TypeVar("F", bound=Callable[..., Any])

#: Every op with a record, by name.
OPS = cast("OpTable[str, Op]", op_table.OPS)
#: NumPy's functions and ufuncs, each to the op that answers it.
NUMPY_TABLE = cast("OpTable[Callable[..., Any], Op]", op_table.NUMPY_TABLE)


class _Signature:
    """The signature of an op, made when it is asked for; the class has its own."""

    def __get__(self, op: Op | None, owner: type[Op]) -> inspect.Signature:
        if op is None:
            raise AttributeError("__signature__")
        return op.signature()


class Op:
    """One operation and all that is known of it.

    `inspect` and `help` take it for the function that it stands for.

    Attributes:
        module: name of the module that has the record.
        chapter: the part of :mod:`nkipy.core.ops` that has the op, a heading in the
            coverage table.

    Args:
        name: the op's name; by custom that of the NumPy function.
        numpy: the NumPy function(s) that it answers. The first one is the reference.
        aliases: the op's other names among those that packages of ops give out.
        dtypes: dtypes of the main operand that samples are made in.
        samples: makes the sample calls for a dtype; see :mod:`._samples`.
        errors: calls that must be refused at trace time.
        reference: what defines the result, if not the NumPy function.
        rtol: relative tolerance against the reference, by dtype of the result.
        note: a limit or deviation, for the coverage table.
        writes: names of the parameters that the op writes into.
        shares: whether the result may be a view of an argument.
        memory_order: what decides in which order NumPy's results lie in memory.
            "operands": if they lie in C order, so do results; "own": in any case
            NumPy has to be asked; "made": results lie as the op has made them.
        register: whether the op is in the registry. By default those are that are a
            chapter's, answer a NumPy function, or have samples.
    """

    __signature__ = _Signature()

    def __init__(
        self,
        name: str,
        *,
        numpy: Callable[..., Any] | Sequence[Callable[..., Any]] = (),
        aliases: Sequence[str] = (),
        dtypes: Sequence[np.dtype] = (),
        samples: Sampler | None = None,
        errors: Sequence[ErrorSample] = (),
        reference: Callable[..., Any] | None = None,
        rtol: dict[np.dtype, float] | None = None,
        note: str = "",
        writes: Sequence[str] = ("out",),
        shares: bool = False,
        memory_order: Literal["operands", "own", "made"] = "operands",
        register: bool | None = None,
    ) -> None:
        self.name = self.__name__ = self.__qualname__ = name
        answered = numpy if isinstance(numpy, (list, tuple)) else (numpy,)
        self.numpy = tuple(map(original, answered))
        self.aliases = tuple(aliases)
        self.module = self.__module__ = _defining_module()
        self.__doc__ = self._as_numpy()
        self.chapter = _chapter_of(self.module)
        self.dtypes = tuple(dtypes)
        self.samples = samples
        self.errors = tuple(errors)
        self.reference = original(reference) or (self.numpy[0] if self.numpy else None)
        self.rtol = rtol or {}
        self.note = note
        self.writes = tuple(writes)
        self.shares = shares
        self.memory_order = memory_order
        self._impls: dict[str, Callable[..., Any]] = {}
        self._composed: Callable[..., Any] | None = None
        self._modelling: Callable[..., Any] | None = None
        if register is None:
            register = bool(self.numpy or samples) or self.module.startswith(
                f"{PACKAGE}."
            )
        if register:
            self.register()

    def register(self) -> None:
        """Put the op into the registry. Raises ValueError where its name is taken."""
        _loading.add(self)

    def unregister(self) -> None:
        """Take the op out of the registry again."""
        _loading.remove(self)

    def impl(self, backend: str) -> Callable[[F], F]:
        """Decorator: the function implements this op on `backend` ("hlo", "cpu")."""

        def register(function: F) -> F:
            self._impls[backend] = function
            self._adopt(function)
            return function

        return register

    @property
    def composed_impl(self) -> Callable[[F], F]:
        """Decorator: the function implements this op by other ops, on any backend."""

        def register(function: F) -> F:
            self._composed = function
            self._adopt(function)
            return function

        return register

    def _adopt(self, function: Callable[..., Any]) -> None:
        if function.__doc__ and self.__doc__ == self._as_numpy():
            self.__doc__ = function.__doc__

    def _as_numpy(self) -> str:
        """What is said of the op where nothing else is."""
        return f"As ``{numpy_name(self.numpy[0])}``." if self.numpy else ""

    def signature(self) -> inspect.Signature:
        """The parameters that calls have, and the result, annotated by texts.

        Raises:
            AttributeError: the op has no implementation yet.
        """
        from nkipy.core.ops._signature import signature_of

        if self.implementation is None:
            raise AttributeError(f"{self!r} has no signature")
        return signature_of(self.implementation)

    def __get__(self, instance: object, owner: Any = None) -> Self:
        # An op is the same wherever it stands. That there is this method makes
        # `inspect.isroutine` true, by which `help` and Sphinx tell functions from data.
        return self

    @property
    def implementation(self) -> Callable[..., Any] | None:
        """The function that lowers the op, composed or not."""
        return self._impls.get("hlo") or self._composed

    def _select(self, backend: str) -> Callable[..., Any]:
        found = self._impls.get(backend) or self._composed
        if found is None and backend == "cpu" and self.numpy:
            found = self.numpy[0]
        if found is None:
            raise NotImplementedError(
                f"Operation '{self.name}' not implemented for backend '{backend}'. "
                f"Available backends: {list(self._impls)}"
            )
        return found

    def in_numpy(self) -> Iterator[Callable[..., Any]]:
        """Functions of plain arrays that do what the op does."""
        if self.numpy:
            yield self.numpy[0]
        elif "cpu" in self._impls or self._composed:
            yield self._select("cpu")
        if self.reference is not None:
            yield self.reference

    def modelled(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, fit for arrays of a few elements along each axis.

        NumPy is called with them to learn how the op's result lies in memory.
        """
        return self._modelling(args, kwargs) if self._modelling else (args, kwargs)

    def modelling(self, function: F) -> F:
        """Decorator: the function answers for `modelled`."""
        self._modelling = function
        return function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.called(args, kwargs)

    def called(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """``self(*args, **kwargs)``, called for the user by one other function.

        That spares NumPy's protocols, which have the arguments so, to unpack them.
        """
        ctx = _active_ctx.get()
        if ctx is None:
            _refuse_leaked(args)
            return self._select("cpu")(*args, **kwargs)
        if holds_known(args) or (kwargs and holds_known(kwargs.values())):
            args, kwargs = self._without_known(args, kwargs)
        located = ctx.current_source_location is not None
        if not located:
            ctx.current_source_location = caller_location(3)
        outer, ctx.current_op = ctx.current_op, self
        try:
            result = self._select(ctx.backend_name)(*args, **kwargs)
            if outer is None:
                lay_out(self, result, args, kwargs)
            return result
        except USER_ERRORS as error:
            if isinstance(error, NKIPyError) and error.op == self.name:
                raise
            raise self._described(error, args, kwargs, ctx) from error
        finally:
            ctx.current_op = outer
            if not located:
                ctx.current_source_location = None

    def _without_known(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments: known arrays as plain ones, those to write into as traced.

        Known arrays that the result may be a view of stay what they are.
        """
        for value in self._written(args, kwargs):  # which may be an operand as well
            make_traced(value)
        if self.shares:
            return args, kwargs
        return operands(args), operands(kwargs)

    def _written(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
        """The arguments that the op writes into."""
        for name, value in (*zip(self._positional, args), *kwargs.items()):
            if name in self.writes:
                yield value

    def bound(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> inspect.BoundArguments:
        """The arguments by the names that the implementation has for them."""
        assert self.implementation is not None
        bound = inspect.signature(self.implementation).bind(*args, **kwargs)
        bound.apply_defaults()
        return bound

    @cached_property
    def _positional(self) -> tuple[str, ...]:
        function = self.implementation
        return tuple(inspect.signature(function).parameters) if function else ()

    def _described(
        self, error: Exception, args: Any, kwargs: dict[str, Any], ctx: Any
    ) -> NKIPyError:
        received = describe_call(args, kwargs)
        location = ctx.current_source_location
        described = describe_op_error(error, self.name, received, location)
        # Python names the implementation when arguments do not fit it.
        inner = getattr(self.implementation, "__qualname__", None)
        if inner and described.reason.startswith(f"{inner}()"):
            described.reason = self.name + described.reason.removeprefix(inner)
        return described

    def __repr__(self) -> str:
        backends = ", ".join(self._impls) or "none"
        composed = ", composed" if self._composed else ""
        return f"<Op '{self.name}' backends: {backends}{composed}>"


def _defining_module() -> str:
    """Name of the module that makes a record, the classes of records aside."""
    frame = sys._getframe(1)
    while frame.f_globals["__name__"].rpartition(".")[2].startswith("_"):
        if frame.f_back is None:
            break
        frame = frame.f_back
    return frame.f_globals["__name__"]


def _chapter_of(module: str) -> str:
    """``transform`` of ``nkipy.core.ops.transform.joining``; elsewhere the module."""
    inner = module.removeprefix(f"{PACKAGE}.")
    return inner.partition(".")[0] if inner != module else module.rpartition(".")[2]


def chapter(module: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a chapter: the ops of its files."""
    own = _chapter_of(module)

    def ops() -> dict[str, Op]:
        return {
            name: op
            for op in OPS.values()
            if op.chapter == own
            for name in (op.name, *op.aliases)
            if name.isidentifier()
        }

    def find(name: str) -> Any:
        if name == "__all__":  # import * asks for it
            return sorted(ops())
        found = _loading.attribute(own, name)
        if found is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return found

    return find, lambda: sorted(ops())


def _refuse_leaked(args: Iterable[Any]) -> None:
    """A traced value reached an op although no trace is active."""
    for arg in args:
        if isinstance(getattr(arg, "_ctx", None), HLOTraceContext):
            raise leaked(arg)


def supports(*dtypes: np.dtype | Sequence[np.dtype]) -> tuple[np.dtype, ...]:
    """A flat tuple of dtypes, for records: ``supports(FLOATS, bool_)``."""
    flat: list[np.dtype] = []
    for entry in dtypes:
        flat.extend(entry if isinstance(entry, tuple) else (dt.as_dtype(entry),))
    return tuple(flat)
