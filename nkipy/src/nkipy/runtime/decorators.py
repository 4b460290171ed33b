"""Decorators that say where a kernel runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

from nkipy.runtime.options import SimulationOptions
from nkipy.runtime.simulate import SimulatedKernel


@overload
def simulate_jit(kernel: Callable[..., Any], /) -> SimulatedKernel: ...


@overload
def simulate_jit(
    *, world_size: int = 1, options: SimulationOptions | None = None
) -> Callable[[Callable[..., Any]], SimulatedKernel]: ...


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
