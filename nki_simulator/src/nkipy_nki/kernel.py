"""Kernels: what ``nki.jit`` makes of a function."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.arguments import WrongCallError
from nkipy_nki.capturing import kept_out_of_graphs
from nkipy_nki.checking import told
from nkipy_nki.compiler import CompileConfig, SpecializationConfig
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.modes import dependency
from nkipy_nki.options import TODAY, checked, target_of
from nkipy_nki.ordering import asked_of, scheduled
from nkipy_nki.pickling import ByName
from nkipy_nki.running import invalid, is_running, kernel_line, telling_caller
from nkipy_nki.simulation import Simulator

__all__ = ["Kernel", "jit", "simulate", "tracer_of"]


@kept_out_of_graphs
class Kernel(ByName):
    """A function in the language, to be run by one core or by the two of a logical one.

    A call with arrays runs it by the simulator: there is no other device. Called in
    another kernel, it is part of that. If an argument's class has ``__nki_kernel__``,
    the function ``f(kernel, args, kwargs)`` that it names as ``"module:f"`` does the
    call: such are the arrays of a program that is being traced.

    Args:
        func: the function.
        lnc: by how many cores, 1 or 2; None is what ``NEURON_LOGICAL_NC_CONFIG`` says.
        options: what else it was told.

    Attributes:
        func: the function.
        lnc: by how many cores; None if nobody said.
        options: what else it was told.
    """

    def __init__(
        self, func: Callable[..., Any], lnc: int | None = None, **options: Any
    ) -> None:
        self.func = func
        self.lnc = lnc
        self.options = options
        functools.update_wrapper(self, func)

    def __repr__(self) -> str:
        cores = "" if self.lnc is None else f"[{self.lnc}]"
        return f"<NKI kernel {self.func.__qualname__}{cores}>"

    def _made_of(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (self.lnc,), self.options

    def __getitem__(self, lnc: Any) -> Kernel:
        """The kernel for 1 or 2 cores.

        Raises:
            NkiValidationError: it is another number.
        """
        (cores,) = lnc if isinstance(lnc, tuple) and len(lnc) == 1 else (lnc,)
        if isinstance(cores, bool) or cores not in (1, 2):
            raise NkiValidationError(
                f"{self.func.__name__}[{lnc!r}]: a kernel runs on 1 or 2 cores\n"
                f"  at {kernel_line()}"
            )
        return Kernel(self.func, int(cores), **self.options)

    def with_schedule(
        self, schedule: Iterable[Any], kind: dependency = dependency.schedule
    ) -> Kernel:
        """The kernel with an order of instructions that have names (``name=``).

        The instructions are carried out as before: estimated times go by the order.

        Args:
            schedule: edges: the name of an instruction, and the name, or a list of
                names, of those that it comes after; and, if it is another, the kind.
            kind: of edges that say none.

        Raises:
            NkiValidationError: it is no such list; when the kernel runs: a name is that
                of no instruction, or of several, or what comes first needs what the
                other one does.
        """
        asked = tuple(asked_of(schedule, kind))
        return Kernel(scheduled(self.func, asked), self.lnc, **self.options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it.

        Raises:
            NkiValidationError: it does what is not allowed.
        """
        if is_running():
            require_no_arrays(self.func, args, kwargs)
            return self.func(*args, **kwargs)
        traced = tracer_of(args, kwargs)
        if traced is None:
            return _run(self, args, kwargs)
        with telling_caller(WrongCallError):
            return traced(self, args, kwargs)


def require_no_arrays(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Refuse arrays in a call of a kernel that another one makes.

    Raises:
        NkiValidationError: there is one.
    """
    for value in _leaves((*args, *kwargs.values())):
        if isinstance(value, np.ndarray):
            name = getattr(function, "__name__", function)
            raise invalid(
                f"kernel {name} is called in another kernel with {told(value)}: in a "
                "kernel it takes tensors; nl.shared_constant makes one of an array"
            )


def _run(kernel: Kernel, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    return simulate(kernel)(*args, **kwargs)


def tracer_of(
    args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Callable[..., Any] | None:
    """What does a call in a program that is being traced: ``f(kernel, args, kwargs)``.

    Args:
        args: the arguments, of which some may be arrays of that program, or hold such.
        kwargs: those by name.

    Returns:
        The function; None if there is no such array.
    """
    for value in _leaves((*args, *kwargs.values())):
        hook = getattr(type(value), "__nki_kernel__", None)
        if hook is not None:
            return _function(hook)
    return None


def _function(name: str) -> Callable[..., Any]:
    """The function of a name such as ``"package.module:function"``."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def _leaves(value: Any) -> Iterator[Any]:
    """What is in tuples, lists and dicts."""
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if not isinstance(value, (tuple, list)):
        yield value
        return
    for part in value:
        yield from _leaves(part)


def jit(
    fn: Any = None,
    *,
    compile_config: CompileConfig | None = None,
    specialization_config: SpecializationConfig | None = None,
    **options: Any,
) -> Any:
    """Make a kernel of a function: a decorator, with or without arguments.

    Args:
        fn: the function. It was called `func` before, and may be given so.
        compile_config: how AWS's compiler compiles it: the simulator does not look.
        specialization_config: how AWS's compiler traces it: the same.
        options: ``platform_target`` of older kernels is the target unless
            :func:`simulate` is told another, and ``mode`` has no effect; both are
            warned of, as is any other.

    Returns:
        A :class:`Kernel`; without `fn`, what makes one of a function.

    Raises:
        NkiValidationError: an option has a value that it cannot have.
    """
    fn = options.pop("func", fn)
    if compile_config is not None:
        options["compile_config"] = compile_config
    if specialization_config is not None:
        options["specialization_config"] = specialization_config
    if options:
        options = checked("nki.jit", options, TODAY)
    if fn is None:
        return functools.partial(_kernel_of, options)
    return _kernel_of(options, fn)


def _kernel_of(options: dict[str, Any], func: Any) -> Any:
    """A kernel with options that were looked at."""
    if hasattr(func, "__nki_simulator__"):
        return func
    if isinstance(func, Kernel):
        return Kernel(func.func, func.lnc, **{**func.options, **options})
    if not callable(func):
        raise TypeError(f"nki.jit takes a function, not {type(func).__name__}")
    return Kernel(func, **options)


def simulate(
    kernel: Callable[..., Any],
    *,
    target: str | Chip | None = None,
    findings: Mapping[str, str] | None = None,
) -> Simulator:
    """What runs `kernel` by the simulator when it is called.

    Args:
        kernel: a kernel, ``kernel[2]``, or a plain function.
        target: the chip, such as ``"trn2"`` or ``"gen3"``.
        findings: levels (``"error"``, ``"warning"``, ``"off"``) of kinds of findings.

    A kernel of another generation of the language has a method ``__nki_simulator__``,
    which takes the target and the levels.
    """
    maker = getattr(kernel, "__nki_simulator__", None)
    if maker is not None:
        found: Simulator = maker(target, findings)
        return found
    if isinstance(kernel, Kernel):
        target = target_of(kernel.options, target)
        return Simulator(kernel.func, kernel.lnc, target, findings)
    return Simulator(kernel, None, target, findings)
