"""Decorators that say where a kernel runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, overload

from nkipy.hlo.options import SimulationOptions
from nkipy.runtime.simulate import SimulatedKernel

if TYPE_CHECKING:
    from pathlib import Path

    from nkipy.core.compile import CompilationTarget
    from nkipy.runtime.baremetal import BaremetalKernel


P = ParamSpec("P")
R = TypeVar("R")


@overload
def simulate_jit(  # type: ignore[overload-overlap]  # 1 is an int, too
    kernel: Callable[P, R],
    /,
    *,
    world_size: Literal[1] = 1,
    options: SimulationOptions | None = None,
) -> SimulatedKernel[P, R]: ...


@overload
def simulate_jit(  # type: ignore[overload-overlap]
    *, world_size: Literal[1] = 1, options: SimulationOptions | None = None
) -> Callable[[Callable[P, R]], SimulatedKernel[P, R]]: ...


# Of several ranks, any argument may be PerRank, whatever its annotation says.
@overload
def simulate_jit(
    kernel: Callable[..., R],
    /,
    *,
    world_size: int,
    options: SimulationOptions | None = None,
) -> SimulatedKernel[..., list[R]]: ...


@overload
def simulate_jit(
    *, world_size: int, options: SimulationOptions | None = None
) -> Callable[[Callable[..., R]], SimulatedKernel[..., list[R]]]: ...


def simulate_jit(
    kernel: Callable[..., Any] | None = None,
    /,
    *,
    world_size: int = 1,
    options: SimulationOptions | None = None,
) -> Any:
    """Trace a NumPy function to HLO and execute that HLO on the CPU.

    Use with or without parentheses::

        @simulate_jit
        def softmax(x):
            e = np.exp(x - np.max(x, axis=-1, keepdims=True))
            return e / np.sum(e, axis=-1, keepdims=True)

    Args:
        kernel: a function of NumPy arrays.
        world_size: number of ranks for collectives. A call then returns a list with one
            result per rank; wrap arguments that differ in :class:`PerRank`.
        options: numerics, :class:`SimulationOptions`. The default is exact.

    Returns:
        A callable; ``.hlo(*args)`` is the HLO text and ``.lower(*args)`` the module
        that a call with these arguments executes.

    Raises (on a call):
        NKIPyError: the kernel does something that cannot be traced.
        SimulatorNotFoundError: the emulator is not installed.
    """
    if kernel is None:
        return lambda function: SimulatedKernel(function, options, world_size)
    return SimulatedKernel(kernel, options, world_size)


@overload
def baremetal_jit(
    kernel_func: Callable[P, R],
    *,
    backend: str = "hlo",
    additional_compiler_args: str = "",
    target: CompilationTarget | None = None,
    artifacts_dir: str | Path | None = None,
    core_id: int = 0,
) -> BaremetalKernel[P, R]: ...


@overload
def baremetal_jit(
    *,
    backend: str = "hlo",
    additional_compiler_args: str = "",
    target: CompilationTarget | None = None,
    artifacts_dir: str | Path | None = None,
    core_id: int = 0,
) -> Callable[[Callable[P, R]], BaremetalKernel[P, R]]: ...


def baremetal_jit(
    kernel_func: Callable[..., Any] | None = None,
    *,
    backend: str = "hlo",
    additional_compiler_args: str = "",
    target: CompilationTarget | None = None,
    artifacts_dir: str | Path | None = None,
    core_id: int = 0,
) -> Any:
    """Trace a NumPy function to HLO, compile it, and execute it on a NeuronCore.

    Use with or without parentheses::

        @baremetal_jit
        def softmax(x):
            e = np.exp(x - np.max(x, axis=-1, keepdims=True))
            return e / np.sum(e, axis=-1, keepdims=True)

    A first call traces the function and compiles what the trace amounts to, unless an
    earlier process has compiled that. Further calls with arguments of the same
    structure, shapes, dtypes and static values do neither, and read no file.

    Args:
        kernel_func: a function of NumPy arrays. Arguments may be
            :class:`~nkipy.runtime.DeviceTensor` too, and stay on the device.
        backend: "hlo".
        additional_compiler_args: arguments after nkipy's own, as a shell reads them.
        target: the chip; by default this machine's.
        artifacts_dir: where NEFFs and the compiler's other files go; nothing in it is
            deleted. By default the cache of this user.
        core_id: the core, counted among the visible ones.

    Returns:
        A callable; ``.hlo(*args)`` is the HLO text and ``.lower(*args)`` the module
        that a call with these arguments executes.

    Raises:
        ValueError: the backend is unknown.
        ImportError: spike is not installed.

    Raises (on a call):
        NKIPyError: the kernel does something that cannot be traced.
        RuntimeError: the compiler is missing or failed.
        NrtError: the device failed; the caller's arrays are as before.
    """
    if backend != "hlo":
        raise ValueError(f"Unknown backend {backend}")

    def compiled(function: Callable[..., Any]) -> BaremetalKernel[..., Any]:
        from pathlib import Path

        from nkipy.compiler.build import BuildOptions
        from nkipy.core.compile import CompilationTarget
        from nkipy.runtime import BaremetalKernel

        options = BuildOptions(
            target or CompilationTarget.DEFAULT,
            additional_compiler_args,
            None if artifacts_dir is None else Path(artifacts_dir),
        )
        return BaremetalKernel(function, options, core_id)

    return compiled if kernel_func is None else compiled(kernel_func)
