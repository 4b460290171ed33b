"""Kernels of the first generation: what decorates them, and what runs them."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from nkipy.chips import Chip
from nkipy_nki import benchmarking
from nkipy_nki.arguments import WrongCallError
from nkipy_nki.capturing import kept_out_of_graphs
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.kernel import require_no_arrays, tracer_of
from nkipy_nki.neuronxcc.nki.faults import fault, report
from nkipy_nki.neuronxcc.nki.grids import grid_of
from nkipy_nki.neuronxcc.nki.state import State, keeping, settle
from nkipy_nki.neuronxcc.nki.tiles import Tile
from nkipy_nki.options import FIRST, checked, target_of
from nkipy_nki.pickling import ByName
from nkipy_nki.running import Grid, current, is_running, telling_caller
from nkipy_nki.simulation import Simulation, Simulator
from nkipy_nki.tensors import NkiTensor
from nkipy_nki.trees import leaves, map_tree

__all__ = [
    "Kernel",
    "baremetal",
    "benchmark",
    "jit",
    "profile",
    "simulate_kernel",
    "trace",
]

_MODES = ("auto", "baremetal", "benchmark", "jax", "profile", "simulation", "torchxla")


@kept_out_of_graphs
class Kernel(ByName):
    """A function in the first generation's language.

    A call with arrays runs it by the simulator, whatever its mode: there is no other
    device. Called in another kernel, it is part of that.

    Args:
        func: the function.
        mode: how it is to be run.
        grid: the shape of its grid of programs; empty without one.
        options: what else it was told.

    Attributes:
        func: the function.
        mode: how it is to be run.
        grid: the shape of its grid.
        options: what else it was told.
    """

    def __init__(
        self,
        func: Callable[..., Any],
        mode: str = "auto",
        grid: tuple[int, ...] = (),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.func = func
        self.mode = mode
        self.grid = grid
        self.options = dict(options or {})
        functools.update_wrapper(self, func)

    def __repr__(self) -> str:
        grid = list(self.grid) if self.grid else ""
        return f"<first-generation NKI kernel {self.func.__qualname__}{grid}>"

    def _made_of(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (self.mode, self.grid, self.options), {}

    def __getitem__(self, grid: Any) -> Kernel:
        """The kernel for a grid of programs.

        Raises:
            NkiValidationError: it is none.
        """
        return Kernel(self.func, self.mode, grid_of(grid), self.options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it.

        Raises:
            NkiValidationError: it does what is not allowed.
        """
        if is_running():
            if self.grid:
                raise fault(
                    "nested_kernel_with_spmd_grid",
                    f"{self!r} is called in a kernel, with a grid of its own",
                )
            require_no_arrays(self.func, args, kwargs)
            return self.func(*args, **kwargs)
        traced = tracer_of(args, kwargs)
        if traced is not None:
            with telling_caller(WrongCallError):
                return traced(self, args, kwargs)
        return self.simulate(*args, **kwargs).values

    def simulate(self, *args: Any, **kwargs: Any) -> Simulation:
        """Run it, and give what it returned with its program and what was found."""
        return self.__nki_simulator__(None, None).run(*args, **kwargs)

    def __nki_simulator__(
        self, target: str | Chip | None, findings: Mapping[str, str] | None
    ) -> Simulator:
        programs: Any = _Programs(self)
        target = target_of(self.options, target)
        return Simulator(programs, 1, target, findings, first=True)


#: Decorators that SDK 2.20 had, in which kernels wrote to arguments and returned
#: nothing (release notes of December 2024: outputs are returned from then on).
_BY_REFERENCE = frozenset({"baremetal", "benchmark"})


class _Programs:
    """The function that a simulator calls: runs all programs of a grid in turn."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.__signature__ = inspect.signature(kernel.func)
        self.__name__ = getattr(kernel.func, "__name__", "")
        self.__code__ = getattr(kernel.func, "__code__", None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        kernel, run = self._kernel, current()
        bound = self.__signature__.bind(*args, **kwargs)
        made = State()
        if kernel.mode != "trace":
            made.immutable = _immutable(kernel.func, bound.arguments)
            made.by_reference = kernel.mode in _BY_REFERENCE
        args, kwargs = _tiles(bound.args), _tiles(bound.kwargs)
        returned: Any = None
        with keeping(made):
            for place in itertools.product(*map(range, kernel.grid)):
                run.grid = Grid(place, kernel.grid)
                made.place = 0
                returned = kernel.func(*args, **kwargs)
                settle()
            views = map_tree(_view, returned)
            _require_written(views, made)
        for error in made.written.values() if _leaves(views) else ():
            raise error
        if kernel.mode != "trace":
            _require_returned(kernel.func, bound.arguments, views)
        return views


def _tiles(value: Any) -> Any:
    """Tensors as the first generation has them, in whatever they are in."""
    if isinstance(value, NkiTensor):
        return Tile(value)
    if isinstance(value, (tuple, list)):
        return tuple(_tiles(part) for part in value)
    if isinstance(value, Mapping):
        return {key: _tiles(part) for key, part in value.items()}
    return value


def _view(value: Any) -> Any:
    return value.elements if isinstance(value, Tile) else value


def _leaves(value: Any) -> list[NkiTensor]:
    return [leaf for leaf in leaves(value) if isinstance(leaf, NkiTensor)]


def _annotations(func: Callable[..., Any]) -> dict[str, bool]:
    """Which parameters are declared to be written, by name."""
    found = {}
    for name, annotation in getattr(func, "__annotations__", {}).items():
        if isinstance(annotation, str):
            found[name] = "mutable" in annotation and "immutable" not in annotation
        else:
            found[name] = getattr(annotation, "is_mutable", False)
    return found


def _immutable(func: Callable[..., Any], given: Mapping[str, Any]) -> dict[int, str]:
    """The arguments that must not be written: names by the tensors' ids."""
    mutable = _annotations(func)
    return {
        tensor.allocation.id: name
        for name, value in given.items()
        if not mutable.get(name)
        for tensor in _leaves(value)
    }


def _require_returned(
    func: Callable[..., Any], given: Mapping[str, Any], views: Any
) -> None:
    """What is declared to be written is returned."""
    returned = {view.allocation.id for view in _leaves(views)}
    mutable = _annotations(func)
    for name, value in given.items():
        for tensor in _leaves(value) if mutable.get(name) else ():
            if tensor.allocation.id not in returned:
                raise fault(
                    "mutable_parameter_not_returned",
                    f"the argument {name} is declared mutable_tensor, and must be "
                    "returned",
                )


def _require_written(views: Any, made: State) -> None:
    """Each result that the kernel made was written to."""
    for view in _leaves(views):
        result = view.allocation
        if result.role == "local" and not made.writes.get(result.id):
            report(
                "output-not-written",
                "tensor_output_not_written_to",
                f"the result {result} was never written to",
                at=result.line,
            )


# -- decorators ------------------------------------------------------------------------
def _decorator(func: Any, mode: str, **options: Any) -> Any:
    if options:
        name = mode if mode in ("baremetal", "trace") else "jit"
        options = checked(f"nki.{name}", options, FIRST)
    if func is None:
        return functools.partial(_kernel_of, mode, options)
    return _kernel_of(mode, options, func)


def _kernel_of(mode: str, options: dict[str, Any], func: Any) -> Any:
    """A kernel with options that were looked at."""
    if isinstance(func, Kernel):
        return Kernel(func.func, mode, func.grid, {**func.options, **options})
    if not callable(func):
        raise TypeError(f"a kernel is a function, not {type(func).__name__}")
    return Kernel(func, mode, (), options)


def jit(func: Any = None, mode: str = "auto", **options: Any) -> Any:
    """Make a kernel of a function: a decorator, with or without arguments.

    Args:
        func: the function.
        mode: ``"auto"``, ``"simulation"``, ``"baremetal"``, ``"benchmark"``,
            ``"profile"``, ``"torchxla"`` or ``"jax"``. All run by the simulator.
        options: ``platform_target`` is the target unless a call is told another. A
            warning says of all others that they have no effect.

    Raises:
        NkiValidationError: there is no such mode, or target.
    """
    if mode not in _MODES:
        raise NkiValidationError(f"nki.jit: mode={mode!r} is none of {list(_MODES)}")
    if mode in _TIMED:
        return _TIMED[mode](func, **options)
    return _decorator(func, mode, **options)


def baremetal(func: Any = None, **options: Any) -> Any:
    """The same as ``nki.jit(mode="baremetal")``."""
    return _decorator(func, "baremetal", **options)


def trace(func: Any = None, **options: Any) -> Any:
    """Make a kernel that writes to arguments instead of returning results."""
    return _decorator(func, "trace", **options)


def benchmark(func: Any = None, **options: Any) -> Any:
    """Make a kernel whose calls are timed: ``kernel.benchmark_result.nc_latency``.

    The time is an estimate. Of `options`, see :func:`nkipy_nki.benchmarking.benchmark`.
    """
    if func is None:
        return functools.partial(benchmark, **options)
    return benchmarking.benchmark(_decorator(func, "benchmark"), **options)


def profile(func: Any = None, **options: Any) -> Any:
    """Make a kernel whose calls write where their time goes.

    The times are estimates. Of `options`, see :func:`nkipy_nki.benchmarking.profile`.
    """
    if func is None:
        return functools.partial(profile, **options)
    return benchmarking.profile(_decorator(func, "profile"), **options)


#: Modes that a decorator of their own has.
_TIMED = {"benchmark": benchmark, "profile": profile}


def simulate_kernel(
    kernel: Any, *args: Any, target: str | Chip | None = None, **kwargs: Any
) -> Any:
    """Run a kernel by the simulator.

    Args:
        kernel: a kernel, one with a grid, or a function.
        args: its arguments, arrays among them.
        target: the chip, such as ``"trn1"``.
        kwargs: its arguments by name.

    Returns:
        What it returns. What it writes to arguments of ``nki.trace`` is in the arrays.
    """
    found = kernel if hasattr(kernel, "__nki_simulator__") else trace(kernel)
    return found.__nki_simulator__(target, None)(*args, **kwargs)
