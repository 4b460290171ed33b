"""``nki.simulator``: the call by which frameworks run a kernel by the simulator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nkipy_nki.kernel import jit, simulate

__all__ = ["simulate_kernel"]


def simulate_kernel(
    func: Callable[..., Any],
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    _lnc: int | None = None,
) -> Any:
    """Run a kernel by the simulator.

    Args:
        func: a kernel, or a function.
        args: its arguments: arrays, and what else it takes.
        kwargs: those by name.
        _lnc: by how many cores, 1 or 2; None is what the kernel says.

    Returns:
        What it returns, arrays for tensors.

    Raises:
        NkiValidationError: it does what is not allowed.
    """
    kernel = jit(func)
    chosen = kernel if _lnc is None else kernel[_lnc]
    return simulate(chosen)(*args, **(kwargs or {}))
