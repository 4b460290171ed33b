"""Compares a kernel with NumPy in all the ways in which it can run."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nkipy.core.tree import map_tree
from nkipy.runtime.simulate import SimulatedKernel
from nkipy.testing.comparison import compare
from nkipy.testing.low_precision import following_table, involves_table
from nkipy.testing.tolerances import Tolerance

__all__ = ["MODES", "check_kernel", "run_resident", "run_simulated"]


def run_simulated(kernel: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Trace `kernel` for these arguments, execute its HLO on the CPU: its result."""
    return SimulatedKernel(kernel)(*args, **kwargs)


def _baremetal(kernel: Callable[..., Any]) -> Callable[..., Any]:
    from nkipy.runtime import baremetal_jit

    return baremetal_jit(kernel)


def _resident(kernel: Callable[..., Any]) -> Callable[..., Any]:
    compiled = _baremetal(kernel)
    return lambda *args, **kwargs: run_resident(compiled, *args, **kwargs)


#: The ways to run a kernel but for NumPy, and what makes something to call of it.
_WAYS: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "simulate": SimulatedKernel,
    "baremetal": _baremetal,
    "resident": _resident,
}
#: Their names: the HLO on the CPU; on a NeuronCore, with arrays that are copied there
#: and back; and with arrays that are on the device before and after (DeviceTensor).
MODES = tuple(_WAYS)


def run_resident(compiled: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call what ``baremetal_jit`` made, with its array arguments on the device.

    Arrays that the kernel writes into are read back, so that the caller's change as
    they do when they are passed themselves. One array passed twice is one tensor.
    """
    from nkipy.runtime import DeviceTensor

    pairs: dict[int, tuple[np.ndarray, DeviceTensor]] = {}

    def upload(path: Any, leaf: Any) -> Any:
        if not isinstance(leaf, np.ndarray):
            return leaf
        if id(leaf) not in pairs:
            pairs[id(leaf)] = leaf, DeviceTensor.from_numpy(leaf)
        return pairs[id(leaf)][1]

    device_args, device_kwargs = map_tree(upload, (args, kwargs))
    result = compiled(*device_args, **device_kwargs)
    for array, tensor in pairs.values():
        held = tensor.numpy()
        if held.tobytes() != array.astype(held.dtype).tobytes():
            array[...] = held
    return result


def check_kernel(
    kernel: Callable[..., Any],
    *args: Any,
    modes: str | Sequence[str] = MODES,
    reference: Callable[..., Any] | None = None,
    tolerance: Tolerance | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    **kwargs: Any,
) -> None:
    """Check that a kernel gives what NumPy gives, however it runs.

    The function is called with copies of the arguments by NumPy, then in each mode:
    twice, since a second call takes another way than the one that compiles. Results
    and written arguments are compared: structure, shapes, dtypes and values.

    Args:
        kernel: a NumPy function, or what a decorator made of one.
        args, kwargs: its arguments: arrays, trees of them, and static values.
        modes: one or several of :data:`MODES`. All but "simulate" need a NeuronCore,
            of silicon or emulated.
        reference: what computes the expected results; by default the function itself,
            :func:`~nkipy.testing.following_table` if an argument is bfloat16 or fp8.
        tolerance: how far floats may be off; by default, what is right for sums.
        rtol, atol: the relative and absolute error of its own, in place of the table's.

    Raises:
        AssertionError: a result differs; the text says in which mode, where and how.
        ValueError: there is no such mode, or none was given.
        Exception: what the kernel raises, in tracing, compiling or running.
    """
    __tracebackhide__ = True  # pytest shows the line of the test, and the kernel's
    function = inspect.unwrap(kernel)
    allowed = replace(tolerance or Tolerance(), **_given(rtol=rtol, atol=atol))
    modes = (modes,) if isinstance(modes, str) else modes
    ways = {mode: _way(mode) for mode in modes}
    if not ways:
        raise ValueError("no mode was given: nothing would be checked")
    if reference is None:
        mixed = involves_table((args, kwargs))
        reference = following_table(function) if mixed else function
    expected = _outcome(reference, args, kwargs)
    name = getattr(function, "__name__", repr(function))
    for mode, way in ways.items():
        called = way(function)
        for call in ("", ", called again"):
            got = _outcome(called, args, kwargs)
            compare(got, expected, tolerance=allowed, label=f"{name} [{mode}{call}]")


def _way(mode: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    __tracebackhide__ = True
    if mode not in _WAYS:
        raise ValueError(f"modes are {', '.join(MODES)}, but received {mode!r}")
    return _WAYS[mode]


def _given(**values: float | None) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _outcome(
    called: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """What a call returns, and its arguments afterwards; the caller's stay as is."""
    __tracebackhide__ = True
    args, kwargs = copy.deepcopy((args, kwargs))
    result = called(*args, **kwargs)
    return {"result": result, "arguments": args, "keywords": kwargs}
